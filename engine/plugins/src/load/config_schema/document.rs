//! How a schema document is read.

use serde_json::Value;

/// Bytes of the largest schema that is accepted. People read schemas.
pub(super) const MAX_SCHEMA_BYTES: usize = 256 << 10;

/// How deeply objects may be nested. A schema that refers to itself has no end otherwise.
pub(super) const MAX_DEPTH: usize = 32;

/// Subschemas of the largest schema that is accepted, each counted as often as it is reached. A
/// value is checked against no more than that. The largest strategy of ours has 65.
pub(super) const MAX_SUBSCHEMAS: usize = 2048;

/// How deeply subschemas may be nested in each other. The stack of a thread holds many more.
pub(super) const MAX_NESTING: usize = 64;

/// The URI of the only supported dialect.
pub(super) const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The properties of an object's schema, with their names.
pub(super) fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten()
}

/// The place in the document that a `$ref` names. `None` for one that leads elsewhere, by an anchor
/// or to nothing. An escape could be read in two ways, and no name of ours needs one.
pub(super) fn resolve_pointer<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    let pointer = reference.strip_prefix('#')?;
    let is_plain = !pointer.contains('%');
    is_plain.then(|| root.pointer(pointer))?
}

/// Follows `$ref` within the document. Returns the schema itself if it has none.
pub(super) fn resolve_reference<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    // Bounded, because references can form a cycle.
    for _ in 0..MAX_DEPTH {
        let target = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| resolve_pointer(root, reference));
        match target {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}
