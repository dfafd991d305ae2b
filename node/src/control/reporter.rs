use std::sync::Arc;

use hotswap_protocol::{Heartbeat, NodeHealth, Registration};

use super::Modules;
use crate::addresses::NodeUrls;

/// What a node says of itself: to its engine, or to one that asks. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    /// What stays the same while the node runs.
    pub(crate) registration: Arc<Registration>,
    pub(crate) modules: Modules,
}

impl Reporter {
    /// What the node registers with.
    pub(crate) fn registration(&self, urls: NodeUrls) -> Registration {
        Registration {
            control_url: urls.control,
            data_url: urls.data,
            highest_fence: self.modules.highest_fence(),
            modules: Some(self.modules.report()),
            ..(*self.registration).clone()
        }
    }

    /// What a heartbeat says, but for the addresses and the modules.
    pub(crate) fn heartbeat(&self) -> Heartbeat {
        let warning = self.modules.health_warning();
        Heartbeat {
            health: match warning {
                _ if self.modules.is_shutting_down() => NodeHealth::Stopping,
                None => NodeHealth::Passing,
                Some(_) => NodeHealth::Warning,
            },
            reason: warning,
            highest_fence: self.modules.highest_fence(),
            boot: self.registration.boot.clone(),
            control_url: None,
            data_url: None,
            modules: None,
            readiness: Some(self.modules.readiness()),
            traffic: Some(self.modules.traffic()),
        }
    }
}
