use std::fmt;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{Digest, ModuleName};

/// One immutable build of a module.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleVersion {
    /// The module.
    pub name: ModuleName,
    /// Semantic version, as the module's author wrote it.
    pub version: Version,
    /// Of the artifact: what the version stands for, for good.
    pub digest: Digest,
}

impl fmt::Display for ModuleVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}
