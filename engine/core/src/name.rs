//! Names: checked once, where they come in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that cannot be a name of this kind; its Display says what can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no {kind}: {rule}")]
pub struct Error {
    kind: &'static str,
    text: String,
    rule: &'static str,
}

/// A hostile text may be megabytes long: the start of it is enough to know it by.
pub(crate) fn error(kind: &'static str, text: &str, rule: &'static str) -> Error {
    let text = text.chars().take(80).collect();
    Error { kind, text, rule }
}

const LABEL_RULE: &str = "use 1 to 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit";
const HOST_RULE: &str =
    "use 1 to 253 letters, digits, hyphens, underscores and dots, beginning with a letter or digit";

/// RFC 1123's label: what a host name, a path segment and a Kubernetes object all accept.
fn is_label(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    text.len() <= 63
        && edge(text.as_bytes().first())
        && edge(text.as_bytes().last())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_host(text: &str) -> bool {
    text.len() <= 253
        && text
            .as_bytes()
            .first()
            .is_some_and(u8::is_ascii_alphanumeric)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $check:path, $rule:path;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self, Error> {
                if $check(&text) {
                    Ok(Self(text))
                } else {
                    Err(error($kind, &text, $rule))
                }
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )*};
}

names! {
    /// The name of a module: `checkout`. An RFC 1123 label, so that it can be a path
    /// segment and the first label of a host name.
    ModuleName, "module name", is_label, LABEL_RULE;
    /// The name of an environment: `production`. An RFC 1123 label.
    Environment, "environment", is_label, LABEL_RULE;
    /// The name of a strategy: `canary`. An RFC 1123 label.
    StrategyName, "strategy name", is_label, LABEL_RULE;
    /// The name of a node, unique among the nodes of an engine; a host name will do.
    NodeId, "node id", is_host, HOST_RULE;
}

/// The id of a deployment (the "execution id" of the API): a UUID version 7, so that
/// ids sort by the time they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeploymentId(Uuid);

impl DeploymentId {
    /// A new id, unique in all likelihood (74 random bits a millisecond).
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The 16 bytes of the id, in an order that sorts by time.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id of these 16 bytes.
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
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Uuid::parse_str(text).map(Self).map_err(|_| {
            let rule = "it is a UUID, as the answer to the request for the deployment gave it";
            error("deployment id", text, rule)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_a_path_or_a_host_are_refused() {
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
    fn a_long_hostile_name_is_cut_in_the_message() {
        let error = "x".repeat(1_000_000).parse::<NodeId>().unwrap_err();
        assert!(error.to_string().len() < 300);
    }
}
