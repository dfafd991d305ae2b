//! Answers of the registry to nodes, in the types of their protocol.

use std::collections::BTreeMap;

use hotswap_core::{Cordon, ModuleName};
use hotswap_protocol as protocol;

use crate::desired_versions::DesiredVersion;
use crate::wire::to_wire_version;

pub(super) fn to_wire_desired(
    desired: BTreeMap<ModuleName, DesiredVersion>,
) -> protocol::DesiredVersions {
    let to_wire = |(module, desired): (ModuleName, DesiredVersion)| {
        let desired = protocol::DesiredVersion {
            version: to_wire_version(&desired.version),
            accepted: desired.accepted.iter().map(to_wire_version).collect(),
        };
        (module.to_string(), desired)
    };
    desired.into_iter().map(to_wire).collect()
}

pub(super) fn to_wire_cordon(cordon: &Cordon) -> protocol::Cordon {
    protocol::Cordon {
        drained: cordon.drained,
        reason: cordon.to_string(),
    }
}
