//! Names and ids. Each type validates its text when it is made, so that no other code has to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{ParseError, new_uuid};

const LABEL_RULE: &str = "use 1 to 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit";
const HOST_NAME_RULE: &str =
    "use 1 to 253 letters, digits, hyphens, underscores and dots, beginning with a letter or digit";

/// Whether `text` is a label of RFC 1123, which host names, path segments and Kubernetes
/// objects accept.
pub(crate) fn is_label(text: &str) -> bool {
    let is_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    text.len() <= 63
        && is_edge(text.as_bytes().first())
        && is_edge(text.as_bytes().last())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_host_name(text: &str) -> bool {
    text.len() <= 253
        && text
            .as_bytes()
            .first()
            .is_some_and(u8::is_ascii_alphanumeric)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

const IDEMPOTENCY_KEY_RULE: &str =
    "use 1 to 255 visible ASCII characters, such as a UUID that you generate for each request";

fn is_idempotency_key(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Types of text that is validated when they are made.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $is_valid:path, $rule:path;)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
        )]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::ParseError;

            fn try_from(text: String) -> Result<Self, $crate::ParseError> {
                if $is_valid(&text) {
                    Ok(Self(text))
                } else {
                    Err($crate::ParseError::new($kind, &text, $rule))
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::ParseError;

            fn from_str(text: &str) -> Result<Self, $crate::ParseError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&self.0, f)
            }
        }
    )*};
}
pub(crate) use names;

names! {
    /// The name of a module: `checkout`. An RFC 1123 label, so that it can be a path
    /// segment and the first label of a host name.
    ModuleName, "module name", is_label, LABEL_RULE;
    /// The name of an environment: `production`. An RFC 1123 label.
    Environment, "environment", is_label, LABEL_RULE;
    /// The name of a strategy: `canary`. An RFC 1123 label.
    StrategyName, "strategy name", is_label, LABEL_RULE;
    /// The name of a node, unique among the nodes of an engine: a host name, for example.
    NodeId, "node id", is_host_name, HOST_NAME_RULE;
    /// The key of a request that may be repeated without a second effect. Belongs to the
    /// requester: others may use the same key.
    IdempotencyKey, "idempotency key", is_idempotency_key, IDEMPOTENCY_KEY_RULE;
}

/// The id of a deployment; the API calls it the execution id. A version 7 UUID: ids sort by
/// the time when they were generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeploymentId(Uuid);

impl DeploymentId {
    /// A new id. Unique for practical purposes: it has 74 random bits for each millisecond.
    pub fn generate() -> Self {
        Self(new_uuid())
    }

    /// The 16 bytes of the id. They sort by time.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id with these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for DeploymentId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Uuid::parse_str(text).map(Self).map_err(|_| {
            let rule = "use the UUID that the engine returned when it created the deployment";
            ParseError::new("deployment id", text, rule)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_a_path_or_a_host_name_are_rejected() {
        for good in ["a", "checkout", "a-1", "0", &"a".repeat(63)] {
            assert!(good.parse::<ModuleName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a/b",
            "a.b",
            "a b",
            "ä",
            "../x",
            &"a".repeat(64),
        ] {
            let error = bad.parse::<ModuleName>().unwrap_err().to_string();
            assert!(error.contains("lower-case letters"), "{error}");
        }
        assert!("node-1.example_x".parse::<NodeId>().is_ok());
        assert!("../node".parse::<NodeId>().is_err());
    }

    #[test]
    fn a_long_name_is_truncated_in_the_error() {
        let error = "x".repeat(1_000_000).parse::<NodeId>().unwrap_err();
        assert!(error.to_string().len() < 300);
    }
}
