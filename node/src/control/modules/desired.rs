use std::sync::{Mutex, MutexGuard, PoisonError};

use hotswap_protocol::{Cordon, DesiredVersion, DesiredVersions, Version};

use crate::data::RoutingTable;

/// What the engine has told the node to run since the node started.
#[derive(Debug, Default)]
pub(super) struct Desired {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    versions: ToldVersions,
    cordon: Option<Cordon>,
    /// The node ends soon. Nobody tells it that but its own operator.
    stopping: bool,
}

#[derive(Debug, Default)]
enum ToldVersions {
    /// Nothing yet: the node may have missed a deployment while it was down.
    #[default]
    Nothing,
    /// The engine has not decided what the node should run.
    Undecided,
    Versions(DesiredVersions),
}

impl Desired {
    /// Returns whether the cordon is another one than before.
    pub(super) fn tell(&self, versions: Option<DesiredVersions>, cordon: Option<Cordon>) -> bool {
        let mut told = self.told();
        let is_new = told.cordon != cordon;
        told.versions = versions.map_or(ToldVersions::Undecided, ToldVersions::Versions);
        told.cordon = cordon;
        is_new
    }

    /// Records that the node ends soon, so that it is not ready any more.
    pub(super) fn tell_stopping(&self) {
        self.told().stopping = true;
    }

    /// Whether the node ends soon.
    pub(super) fn is_stopping(&self) -> bool {
        self.told().stopping
    }

    /// Checks that the node runs what it should, and is neither drained nor about to end. A cordoned node may run any
    /// version: it is not brought to another one.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub(super) fn check(
        &self,
        table: &RoutingTable,
        damaged: impl IntoIterator<Item = String>,
    ) -> Result<(), String> {
        let told = self.told();
        let nothing = DesiredVersions::new();
        if told.stopping {
            return Err("the node is about to stop".to_owned());
        }
        if let Some(cordon) = told.cordon.as_ref().filter(|cordon| cordon.drained) {
            return Err(format!("the node was {}", cordon.reason));
        }
        let desired = match &told.versions {
            ToldVersions::Nothing => {
                return Err("the engine has not told yet what this node should run".to_owned());
            }
            ToldVersions::Undecided => &nothing,
            ToldVersions::Versions(versions) => versions,
        };
        for (module, desired) in desired {
            let route = table.get(module);
            let active = route.and_then(|route| route.active.as_ref());
            let active = active.map(|active| active.version());
            let is_accepted = |active| told.cordon.is_some() || accepts(desired, active);
            if !active.is_some_and(is_accepted) {
                let runs = active.map_or("no version of it", |active| &active.version);
                return Err(format!(
                    "module {module} should run version {}, and runs {runs}",
                    desired.version.version
                ));
            }
        }
        for (module, route) in table.iter() {
            if !desired.contains_key(module)
                && route.active.is_none()
                && let Some(version) = &route.record.slots.active
            {
                return Err(format!(
                    "version {} of module {module} is not loaded",
                    version.version
                ));
            }
        }
        for module in damaged {
            if !desired.contains_key(&module) {
                return Err(format!("the record of module {module} was damaged"));
            }
        }
        Ok(())
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accepts(desired: &DesiredVersion, active: &Version) -> bool {
    desired.version == *active || desired.accepted.contains(active)
}
