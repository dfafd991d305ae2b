//! Turns stored events of older schema versions into the present one, version by version.
//!
//! Released steps never change: journals of that version stay what they are.

use serde_json::{Value, json};

/// The event in the present schema version.
pub(super) fn upcast(version: u32, event: Value) -> Value {
    match version {
        0 | 1 => from_1_to_2(event),
        // Versions 3 and 4 only add what may be missing.
        _ => event,
    }
}

/// Version 2 pins the strategy's limits. Deployments of version 1 ran under those of their
/// engine's configuration, whose defaults were these. What limited compute then was time.
fn from_1_to_2(mut event: Value) -> Value {
    if event["type"] == "requested"
        && let Some(header) = event["data"].as_object_mut()
    {
        header.entry("limits").or_insert_with(|| {
            json!({
                "calls": 10_000,
                "bytes": 4 << 20,
                "fuel": 1_000_000_000,
                "memoryBytes": 64 << 20,
            })
        });
    }
    event
}
