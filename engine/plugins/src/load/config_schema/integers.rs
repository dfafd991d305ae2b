//! Integers of a configuration: what their `format` means, and how they are written.
//!
//! Generators of schemas, ours excepted, name the type of an integer, such as `uint32`, in `format`,
//! which restricts nothing. A number that the strategy cannot hold would be accepted, and fail the deployment once
//! that runs.

use serde_json::{Map, Number, Value, json};

/// Keywords whose values are data.
const DATA: [&str; 4] = ["const", "default", "enum", "examples"];

/// Keywords whose values name schemas.
const NAMED: [&str; 5] = [
    "$defs",
    "definitions",
    "dependentSchemas",
    "patternProperties",
    "properties",
];

/// Adds the range of each integer whose `format` names its type, where the schema says nothing
/// narrower. The schema has passed the check of its extent.
pub(super) fn add_ranges(schema: &mut Value) {
    let Some(keywords) = schema.as_object_mut() else {
        return;
    };
    for (keyword, value) in keywords.iter_mut() {
        match value {
            _ if DATA.contains(&keyword.as_str()) => {}
            Value::Object(named) if NAMED.contains(&keyword.as_str()) => {
                named.values_mut().for_each(add_ranges);
            }
            Value::Array(schemas) => schemas.iter_mut().for_each(add_ranges),
            schema => add_ranges(schema),
        }
    }
    add_range(keywords);
}

fn add_range(keywords: &mut Map<String, Value>) {
    let Some((minimum, maximum)) = keywords
        .get("format")
        .and_then(Value::as_str)
        .and_then(range)
    else {
        return;
    };
    let has_any = |names: [&str; 2]| names.iter().any(|name| keywords.contains_key(*name));
    let (has_minimum, has_maximum) = (
        has_any(["minimum", "exclusiveMinimum"]),
        has_any(["maximum", "exclusiveMaximum"]),
    );
    if !has_minimum {
        keywords.insert("minimum".to_owned(), minimum);
    }
    if !has_maximum {
        keywords.insert("maximum".to_owned(), maximum);
    }
}

/// The least and the greatest value of a type.
fn range(format: &str) -> Option<(Value, Value)> {
    Some(match format {
        "uint8" => (json!(u8::MIN), json!(u8::MAX)),
        "uint16" => (json!(u16::MIN), json!(u16::MAX)),
        // Sizes are as wide as the address space of a strategy.
        "uint32" | "uint" => (json!(u32::MIN), json!(u32::MAX)),
        "uint64" => (json!(u64::MIN), json!(u64::MAX)),
        "int8" => (json!(i8::MIN), json!(i8::MAX)),
        "int16" => (json!(i16::MIN), json!(i16::MAX)),
        "int32" | "int" => (json!(i32::MIN), json!(i32::MAX)),
        "int64" => (json!(i64::MIN), json!(i64::MAX)),
        _ => return None,
    })
}

/// Writes whole numbers as integers: `1.0` is one to JSON Schema, and nothing that a strategy can
/// read as one. Only as far as each can be told from its neighbours.
pub(super) fn write_whole_numbers(config: &mut Value) {
    match config {
        Value::Number(number) => {
            if let Some(whole) = to_whole(number) {
                *number = whole;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(write_whole_numbers),
        Value::Object(members) => members.values_mut().for_each(write_whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn to_whole(number: &Number) -> Option<Number> {
    const MAX_EXACT: f64 = 9_007_199_254_740_991.0;
    let value = number.as_f64().filter(|_| number.is_f64())?;
    let is_whole = value.fract() == 0.0 && value.abs() <= MAX_EXACT;
    is_whole.then(|| Number::from(value as i64))
}
