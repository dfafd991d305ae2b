use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hotswap_protocol::{Cordon, DesiredVersion, DesiredVersions, Version};
use tokio::time::Instant;

use crate::data::RoutingTable;

/// How long after an order the node may be told what was true before it: by an answer that was on
/// its way, or by another engine that has not heard of the deployment yet.
const ORDER_PRECEDENCE: Duration = Duration::from_secs(5);

/// What the engine has told the node to run since the node started.
#[derive(Debug, Default)]
pub(super) struct Desired {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    versions: ToldVersions,
    cordon: Option<Cordon>,
    /// The modules of which orders have changed the active version, with the time of the last. What a module was
    /// told to run does not count until it is told after [`ORDER_PRECEDENCE`].
    ordered: HashMap<String, Instant>,
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
        told.ordered
            .retain(|_, ordered| ordered.elapsed() < ORDER_PRECEDENCE);
        told.versions = versions.map_or(ToldVersions::Undecided, ToldVersions::Versions);
        told.cordon = cordon;
        is_new
    }

    /// Records that an order is about to change the active version of a module.
    pub(super) fn order(&self, module: &str) {
        self.told()
            .ordered
            .insert(module.to_owned(), Instant::now());
    }

    /// Records that the node ends soon, so that it is not ready any more.
    pub(super) fn tell_stopping(&self) {
        self.told().stopping = true;
    }

    /// Whether the node ends soon.
    pub(super) fn is_stopping(&self) -> bool {
        self.told().stopping
    }

    /// Checks that the node runs what it should, and is neither drained nor about to end. A cordoned
    /// node may run any version: it is not brought to another one. Nor is a module wrong that an
    /// order has just changed.
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
            if !active.is_some_and(|active| told.accepts(module, desired, active)) {
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

impl Told {
    fn accepts(&self, module: &str, desired: &DesiredVersion, active: &Version) -> bool {
        self.cordon.is_some()
            || self.ordered.contains_key(module)
            || desired.version == *active
            || desired.accepted.contains(active)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(version: &str) -> Version {
        Version {
            version: version.to_owned(),
            digest: String::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_true_before_an_order_does_not_count_after_it() {
        let old = DesiredVersion {
            version: version("1.0.0"),
            accepted: Vec::new(),
        };
        let desired = Desired::default();
        let tell = || {
            let both = ["hello", "other"].map(|module| (module.to_owned(), old.clone()));
            desired.tell(Some(both.into()), None);
        };
        let accepts = |module| desired.told().accepts(module, &old, &version("2.0.0"));
        tell();
        assert!(!accepts("hello"));
        desired.order("hello");
        assert!(accepts("hello"), "told before the order");
        assert!(!accepts("other"), "no order has changed it");
        tell();
        assert!(accepts("hello"), "the answer was on its way");
        tokio::time::advance(ORDER_PRECEDENCE).await;
        assert!(accepts("hello"), "nothing was told since");
        tell();
        assert!(!accepts("hello"), "the order is long known");
    }
}
