//! The trait that an author implements, and the macro that makes a component of it.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::bindings::exports::hotswap::strategy::guest::Descriptor;
use crate::{Control, Fleet, Plan, Result};

/// A deployment strategy. [`register!`](crate::register) makes a component of it.
///
/// ```
/// use hotswap_sdk::testing::ScriptedFleet;
/// use hotswap_sdk::{Control, Fleet, NoConfig, Plan, Result, Span, Strategy};
///
/// /// Updates one node at a time.
/// struct OneByOne;
///
/// impl Strategy for OneByOne {
///     type Config = NoConfig;
///     const NAME: &'static str = "one-by-one";
///     const SUMMARY: &'static str = "Updates one node at a time, with a pause in between.";
///
///     fn run(plan: &Plan<NoConfig>, fleet: &Fleet, control: &Control) -> Result {
///         let mut stages = control.stages(plan.nodes.len());
///         for node in &plan.nodes {
///             stages.next("node");
///             fleet.deploy(&[node])?;
///             control.sleep(Span::secs(30));
///             fleet.ensure_alive(&[node])?;
///         }
///         Ok(())
///     }
/// }
///
/// hotswap_sdk::register!(OneByOne);
///
/// let script = ScriptedFleet::new(2);
/// script.run::<OneByOne>(NoConfig {})?;
/// assert_eq!(script.updated(), ["node-1", "node-2"]);
/// # Ok::<(), hotswap_sdk::Error>(())
/// ```
pub trait Strategy {
    /// The settings of the strategy. [`NoConfig`] if it has none.
    ///
    /// The SDK generates a JSON Schema from the type: its doc comments become the
    /// descriptions, and its `Default` becomes the defaults. Add
    /// `#[serde(default, rename_all = "camelCase", deny_unknown_fields)]` to the type, and to
    /// each struct inside it.
    type Config: DeserializeOwned + Serialize + JsonSchema + Default;

    /// The name by which requests refer to the strategy: lower-case letters, digits and
    /// hyphens.
    const NAME: &'static str;

    /// One sentence that helps a person to choose a strategy.
    const SUMMARY: &'static str;

    /// The strategy's own version, semantic. `None` uses the version of the crate.
    const VERSION: Option<&'static str> = None;

    /// Rolls the module out. `Ok` keeps the new version.
    ///
    /// The engine may call this again from the top after a crash or a long wait, so it must be
    /// deterministic: see [the rules](crate#rules).
    ///
    /// # Errors
    /// Any error rolls the deployment back: the engine reverts every touched node, and shows
    /// the text of the error as the reason.
    fn run(plan: &Plan<Self::Config>, fleet: &Fleet, control: &Control) -> Result;
}

/// There are no settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// A registered strategy. [`register!`](crate::register) implements this trait.
pub trait Registered: Strategy {
    /// The version of the crate that registers the strategy.
    const CRATE_VERSION: &'static str;

    /// The JSON Schema of the configuration, if it was passed to
    /// [`register!`](crate::register).
    const SCHEMA: Option<&'static str> = None;
}

/// How the strategy describes itself when it is uploaded.
#[must_use]
pub fn describe<S: Registered>() -> Descriptor {
    Descriptor {
        name: S::NAME.to_owned(),
        version: S::VERSION.unwrap_or(S::CRATE_VERSION).to_owned(),
        summary: S::SUMMARY.to_owned(),
        config_schema: S::SCHEMA.map_or_else(schema::<S>, str::to_owned),
    }
}

/// The JSON Schema of the configuration. It has no references, so that programs that show it
/// as a form or as help need not resolve any.
pub(crate) fn schema<S: Strategy>() -> String {
    schema_of::<S::Config>(S::NAME)
}

/// The JSON Schema of a configuration, with this title.
pub(crate) fn schema_of<C: JsonSchema>(title: &str) -> String {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .with_transform(RecursiveTransform(remove_rust_details));
    let mut schema = settings.into_generator().into_root_schema_for::<C>();
    schema.insert("title".to_owned(), title.into());
    schema.to_value().to_string()
}

/// Removes what has a meaning only in Rust: line breaks in doc comments, and the width of numbers,
/// which integers have as a range instead. So the engine refuses what this code could not read.
fn remove_rust_details(schema: &mut Schema) {
    let is_number = |kind: &Value| {
        let names = ["number", "integer"].map(Value::from);
        match kind {
            Value::Array(kinds) => kinds.iter().any(|kind| names.contains(kind)),
            kind => names.contains(kind),
        }
    };
    if schema.get("type").is_some_and(is_number) {
        let format = schema.remove("format");
        let range = format.as_ref().and_then(Value::as_str).and_then(range_of);
        for (keyword, limit) in range.into_iter().flatten() {
            if schema.get(keyword).is_none() {
                schema.insert(keyword.to_owned(), limit);
            }
        }
    }
    if let Some(Value::String(text)) = schema.get_mut("description") {
        let paragraphs: Vec<_> = text
            .split("\n\n")
            .map(|text| text.replace('\n', " "))
            .collect();
        *text = paragraphs.join("\n\n");
    }
}

/// The range of a type of integers, on WebAssembly.
fn range_of(format: &str) -> Option<[(&'static str, Value); 2]> {
    let (minimum, maximum): (Value, Value) = match format {
        "uint8" => (u8::MIN.into(), u8::MAX.into()),
        "uint16" => (u16::MIN.into(), u16::MAX.into()),
        "uint32" | "uint" => (u32::MIN.into(), u32::MAX.into()),
        "uint64" => (u64::MIN.into(), u64::MAX.into()),
        "int8" => (i8::MIN.into(), i8::MAX.into()),
        "int16" => (i16::MIN.into(), i16::MAX.into()),
        "int32" | "int" => (i32::MIN.into(), i32::MAX.into()),
        "int64" => (i64::MIN.into(), i64::MAX.into()),
        _ => return None,
    };
    Some([("minimum", minimum), ("maximum", maximum)])
}

/// Makes a component of a [`Strategy`]. Use it once in a crate of type `cdylib`.
///
/// With `register!(Halves)` the component generates the schema of its configuration itself.
/// With `register!(Halves, include_str!("schema.json"))` it contains a finished schema, which
/// makes the component about a quarter smaller. `testing::assert_schema` checks that the file
/// is up to date, and prints what it must contain.
///
/// On targets other than WebAssembly the macro exports nothing, so several strategies can be
/// linked into one test.
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
