//! The schema of a configuration, held to the contract's rules.

use serde_json::{Map, Value};

use crate::{Registered, Strategy};

/// Fails the test if the strategy's schema breaks a rule, or is not `committed`: the
/// text of a file beside the strategy. What requests may say is a promise to those who
/// write them, so a change of it should be seen in a review.
///
/// # Panics
/// With the faults, or with the schema as it is now, to be put into the file.
pub fn assert_schema<S: Registered>(committed: &str) {
    let schema = parsed::<S>();
    let embedded = S::SCHEMA.is_none_or(|embedded| embedded == committed);
    assert!(
        embedded,
        "the schema that {:?} was registered with is not the committed one",
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
        "the committed schema of {:?} differs from this:\n{schema:#}",
        S::NAME
    );
}

/// What is wrong with the strategy's schema, one sentence each: every property needs a
/// default and a description, and no object may let unknown properties pass.
#[must_use]
pub fn schema_faults<S: Strategy>() -> Vec<String> {
    let mut faults = Vec::new();
    if let Value::Object(root) = parsed::<S>() {
        inspect("the configuration", &root, &mut faults);
    } else {
        faults.push("the configuration is no object".to_owned());
    }
    faults
}

fn parsed<S: Strategy>() -> Value {
    serde_json::from_str(&crate::strategy::schema::<S>()).unwrap_or_default()
}

fn inspect(path: &str, schema: &Map<String, Value>, faults: &mut Vec<String>) {
    let is_object = schema.get("type").is_some_and(|kind| kind == "object");
    if is_object && schema.get("additionalProperties") != Some(&Value::Bool(false)) {
        faults.push(format!(
            "{path} lets unknown properties pass: add deny_unknown_fields"
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
                inspect(name, property, faults);
            }
        }
    }
    if let Some(Value::Object(items)) = schema.get("items") {
        inspect(path, items, faults);
    }
}
