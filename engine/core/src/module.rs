use std::fmt;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{Digest, ModuleName};

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
