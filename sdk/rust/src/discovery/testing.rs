//! Tests for discovery backends, without WebAssembly, an engine or a registry.
//!
//! [`ScriptedRegistry`] takes the place of both. It answers each request as the script of the
//! test says, and records it. Waits take no real time. See the example of
//! [the module above](super).

mod answer;
mod registry;

pub use answer::Answer;
pub use registry::{ScriptedBackend, ScriptedRegistry};
