//! What an author writes.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::bindings::exports::hotswap::strategy::guest::Descriptor;
use crate::{Control, Fleet, Plan, Result};

/// A deployment strategy. [`register!`](crate::register) makes a component of it.
pub trait Strategy {
    /// What a request may set. Doc comments become descriptions and the `Default`
    /// becomes the defaults of the JSON Schema, for which it takes
    /// `#[serde(default, rename_all = "camelCase", deny_unknown_fields)]`.
    /// [`NoConfig`] where there is nothing to set.
    type Config: DeserializeOwned + Serialize + JsonSchema + Default;

    /// How requests name it: lower-case letters, digits and hyphens.
    const NAME: &'static str;

    /// One sentence, shown where a person chooses a strategy.
    const SUMMARY: &'static str;

    /// The strategy's own version, semantic; that of the crate unless it is set.
    const VERSION: Option<&'static str> = None;

    /// Roll the module out. `Ok` keeps the new version.
    ///
    /// # Errors
    /// Any error takes the rollout back: the engine reverts every node that was
    /// touched, and shows the error's text as the reason.
    fn run(plan: &Plan<Self::Config>, fleet: &Fleet, control: &Control) -> Result;
}

/// Nothing can be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// A strategy that went through [`register!`](crate::register), which implements this.
pub trait Registered: Strategy {
    /// The version of the crate that registered it.
    const CRATE_VERSION: &'static str;

    /// The schema of its configuration, if it was registered with one.
    const SCHEMA: Option<&'static str> = None;
}

/// What the strategy says of itself when it is uploaded.
#[must_use]
pub fn describe<S: Registered>() -> Descriptor {
    Descriptor {
        name: S::NAME.to_owned(),
        version: S::VERSION.unwrap_or(S::CRATE_VERSION).to_owned(),
        summary: S::SUMMARY.to_owned(),
        config_schema: S::SCHEMA.map_or_else(schema::<S>, str::to_owned),
    }
}

/// The JSON Schema of the configuration, without references: whoever shows it as a
/// form or as help need not resolve any.
pub(crate) fn schema<S: Strategy>() -> String {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .with_transform(RecursiveTransform(tidy));
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<S::Config>();
    schema.insert("title".to_owned(), S::NAME.into());
    schema.to_value().to_string()
}

/// Takes out what Rust alone means: the width of numbers, and where the source's lines
/// end in a comment.
fn tidy(schema: &mut Schema) {
    let is_number = |kind: &Value| {
        let names = ["number", "integer"].map(Value::from);
        match kind {
            Value::Array(kinds) => kinds.iter().any(|kind| names.contains(kind)),
            kind => names.contains(kind),
        }
    };
    if schema.get("type").is_some_and(is_number) {
        schema.remove("format");
    }
    if let Some(Value::String(text)) = schema.get_mut("description") {
        let paragraphs: Vec<_> = text
            .split("\n\n")
            .map(|text| text.replace('\n', " "))
            .collect();
        *text = paragraphs.join("\n\n");
    }
}

/// Make a component of a strategy: once in a crate of type `cdylib`.
///
/// On other targets than WebAssembly it exports nothing, so that several strategies
/// can be linked into one test.
///
/// `register!(Halves)` has the component make the schema of its configuration itself.
/// `register!(Halves, include_str!("schema.json"))` puts in a schema that was made
/// before, which leaves a good deal of code out of the component;
/// `testing::assert_schema` keeps the file true, and says what belongs into it.
#[macro_export]
macro_rules! register {
    (@ $strategy:ty, $schema:expr) => {
        impl $crate::Registered for $strategy {
            const CRATE_VERSION: &'static str = env!("CARGO_PKG_VERSION");
            const SCHEMA: ::std::option::Option<&'static str> = $schema;
        }

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings;

            struct Component;

            impl bindings::exports::hotswap::strategy::guest::Guest for Component {
                fn describe() -> $crate::Descriptor {
                    $crate::describe::<$strategy>()
                }

                fn run(
                    plan: bindings::exports::hotswap::strategy::guest::Plan,
                ) -> ::std::result::Result<(), ::std::string::String> {
                    $crate::guest::run::<$strategy>(plan)
                }
            }

            bindings::export!(Component with_types_in bindings);
        };
    };
    ($strategy:ty) => {
        $crate::register!(@ $strategy, ::std::option::Option::None);
    };
    ($strategy:ty, $schema:expr) => {
        $crate::register!(@ $strategy, ::std::option::Option::Some($schema));
    };
}
