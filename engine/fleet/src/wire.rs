//! The engine's types in those of the nodes' protocol.

use hotswap_core::ModuleVersion;
use hotswap_protocol as protocol;

pub(crate) fn to_wire_version(version: &ModuleVersion) -> protocol::Version {
    protocol::Version {
        version: version.version.to_string(),
        digest: version.digest.to_string(),
    }
}
