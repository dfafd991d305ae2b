use hotswap_core as core;
use poem_openapi::Object;

/// Where the journal of a deployment cannot be read. Nothing drives such a deployment until an
/// engine can read it, or an admin terminates it.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct Damage {
    /// The number of the event that cannot be read, or that is missing. If it is 0, only the
    /// id, the module, the environment and the time of the deployment are known: its other
    /// fields are placeholders.
    pub seq: u64,
    /// The position of the event among those of all deployments. If events are missing, a
    /// position before the next one.
    pub position: Option<u64>,
    /// Why the event cannot be read.
    pub reason: String,
    /// Whether a newer engine wrote the event. Start that engine: it continues the deployment.
    pub needs_upgrade: bool,
}

impl From<core::Damage> for Damage {
    fn from(damage: core::Damage) -> Self {
        Self {
            seq: damage.seq,
            position: damage.position,
            reason: damage.reason,
            needs_upgrade: damage.needs_upgrade,
        }
    }
}
