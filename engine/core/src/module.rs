use std::fmt;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{Digest, ModuleName, ParseError};

/// Bytes of a version, which travels in paths and headers.
const MAX_VERSION: usize = 128;
const VERSION_RULE: &str =
    "use a semantic version such as 1.4.2 or 2.0.0-rc.1, of at most 128 characters";

/// Parses the version of a module.
///
/// # Errors
/// [`ParseError`] if the text is no semantic version, or too long for a header.
pub fn parse_version(text: &str) -> Result<Version, ParseError> {
    let parsed = text.parse().ok().filter(|_| text.len() <= MAX_VERSION);
    parsed.ok_or_else(|| ParseError::new("version", text, VERSION_RULE))
}

/// One immutable build of a module.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleVersion {
    /// The name of the module.
    pub name: ModuleName,
    /// The semantic version that the module's author gave it.
    pub version: Version,
    /// The digest of the artifact. It never changes for this version.
    pub digest: Digest,
}

impl fmt::Display for ModuleVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_semantic_and_short() {
        let long = |length: usize| format!("1.0.0-{}", "x".repeat(length - 6));
        for valid in ["1.4.2", "2.0.0-rc.1+build.7", &long(128)] {
            assert_eq!(parse_version(valid).unwrap().to_string(), valid);
        }
        for invalid in ["", "1.4", "v1.4.2", "1.4.2-ä", &long(129), &long(60_000)] {
            let error = parse_version(invalid).unwrap_err().to_string();
            assert!(error.contains("128") && error.len() < 500, "{error}");
        }
    }
}
