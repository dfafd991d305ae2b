//! Checks for the schema of a configuration.

use serde_json::{Map, Value};

use crate::{Registered, Strategy};

/// Fails the test if the schema of a strategy breaks a rule or differs from `committed`, the
/// text of a file beside the strategy. Requests depend on the schema, so a change of it should
/// be visible in a review.
///
/// # Panics
/// With the rules that are broken, or with the schema that the file must contain.
pub fn assert_schema<S: Registered>(committed: &str) {
    let schema = generated_schema::<S>();
    let embedded = S::SCHEMA.is_none_or(|embedded| embedded == committed);
    assert!(
        embedded,
        "the schema that {:?} is registered with differs from the committed schema",
        S::NAME
    );
    let faults = schema_faults::<S>();
    assert!(
        faults.is_empty(),
        "the schema of {:?} breaks rules:\n{}",
        S::NAME,
        faults.join("\n")
    );
    let same = serde_json::from_str::<Value>(committed).is_ok_and(|value| value == schema);
    assert!(
        same,
        "the committed schema of {:?} is out of date, replace it by:\n{schema:#}",
        S::NAME
    );
}

/// The rules that the schema of a strategy breaks, one sentence each. Each property needs a
/// default and a description, and each object must reject unknown properties.
#[must_use]
pub fn schema_faults<S: Strategy>() -> Vec<String> {
    let mut faults = Vec::new();
    if let Value::Object(root) = generated_schema::<S>() {
        collect_faults("the configuration", &root, &mut faults);
    } else {
        faults.push("the configuration is not an object".to_owned());
    }
    faults
}

fn generated_schema<S: Strategy>() -> Value {
    serde_json::from_str(&crate::strategy::schema::<S>()).unwrap_or_default()
}

fn collect_faults(path: &str, schema: &Map<String, Value>, faults: &mut Vec<String>) {
    let is_object = schema.get("type").is_some_and(|kind| kind == "object");
    if is_object && schema.get("additionalProperties") != Some(&Value::Bool(false)) {
        faults.push(format!(
            "{path} accepts unknown properties: add #[serde(deny_unknown_fields)]"
        ));
    }
    if let Some(Value::Object(properties)) = schema.get("properties") {
        for (name, property) in properties {
            let has = |key| property.get(key).is_some();
            if !has("default") {
                faults.push(format!(
                    "{name} of {path} has no default: add #[serde(default)]"
                ));
            }
            if !has("description") {
                faults.push(format!(
                    "{name} of {path} has no description: add a doc comment"
                ));
            }
            if let Value::Object(property) = property {
                collect_faults(name, property, faults);
            }
        }
    }
    if let Some(Value::Object(items)) = schema.get("items") {
        collect_faults(path, items, faults);
    }
}
