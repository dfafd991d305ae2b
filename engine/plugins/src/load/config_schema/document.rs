//! How a schema document is read.

use serde_json::Value;

/// Bytes of the largest schema that is accepted. People read schemas.
pub(super) const MAX_SCHEMA_BYTES: usize = 256 << 10;

/// How deeply objects may be nested. A schema that refers to itself has no end otherwise.
pub(super) const MAX_DEPTH: usize = 32;

/// The URI of the only supported dialect.
pub(super) const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The properties of an object's schema, with their names.
pub(super) fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten()
}

/// Follows `$ref` within the document. Returns the schema itself if it has none.
pub(super) fn resolve_reference<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    // Bounded, because references can form a cycle.
    for _ in 0..MAX_DEPTH {
        let target = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix('#'))
            .and_then(|pointer| root.pointer(pointer));
        match target {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}
