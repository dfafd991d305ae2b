//! Tests for discovery backends, without WebAssembly, an engine or a registry.
//!
//! [`ScriptedRegistry`] takes the place of both. It answers each request as the script of the
//! test says, and records it. Waits take no real time. See the example of
//! [the module above](super).

mod answer;
mod registry;

use super::{HealthCheck, Port, Registration};

pub use answer::Answer;
pub use registry::{ScriptedBackend, ScriptedRegistry};

/// An instance of the service `node` as a node would register: at 10.0.0.1, with a port `control`,
/// a zone, a label and a time to live of 15 s.
#[must_use]
pub fn registration(id: &str) -> Registration {
    Registration {
        id: id.to_owned(),
        service: "node".to_owned(),
        address: "10.0.0.1".to_owned(),
        ports: vec![Port {
            name: "control".to_owned(),
            number: 9001,
        }],
        version: Some("1.2.0".to_owned()),
        zone: Some("eu".to_owned()),
        metadata: vec![("hotswap.dev/tier".to_owned(), "edge".to_owned())],
        check: Some(HealthCheck::Ttl(15_000)),
        deregister_after: Some(600_000),
    }
}

/// A text of which `cut` characters from `at` on are replaced: for fuzz tests of what a backend
/// makes of damaged answers. A place behind the end counts from the beginning again.
#[must_use]
pub fn damage(text: &str, at: usize, cut: usize, put: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let at = at % (characters.len() + 1);
    let end = at.saturating_add(cut).min(characters.len());
    let kept = |part: &[char]| part.iter().collect::<String>();
    format!(
        "{}{put}{}",
        kept(&characters[..at]),
        kept(&characters[end..])
    )
}
