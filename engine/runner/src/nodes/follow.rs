//! What other engines decide about nodes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Error, Nodes};
use crate::environment_decisions::next_decision;

/// How long to wait where the store cannot be read.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

impl Nodes {
    /// Takes over what is decided about nodes on other engines that share the store, until it is
    /// dropped. Reads all of it again in a new epoch of the store. Cancel safe.
    pub(crate) async fn follow(self, mut epochs: watch::Receiver<Arc<str>>) {
        let mut appended = self.0.journal.subscribe_to_environments();
        loop {
            // At first, too: something may have been decided before the subscription.
            while let Err(error) = self.read_again().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot read what was decided about nodes elsewhere, retrying"
                );
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            tokio::select! {
                () = next_decision(&mut appended) => {}
                // What was read may be lost.
                Ok(()) = epochs.changed() => {}
            }
        }
    }

    async fn read_again(&self) -> Result<(), Error> {
        // Not while something is decided here: what is read may come from before it.
        let _turn = self.take_turn().await;
        self.0.read_cordons().await?;
        self.0.read_arrivals().await?;
        let forgotten = self.0.registry.drop_deleted().await;
        forgotten.map_err(|error| Error::Store(Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hotswap_core::{EnvironmentEventBody, SystemClock};
    use hotswap_fleet::Registry;
    use hotswap_store::{EnvironmentAppend, EnvironmentJournal as _, Journal as _, Memory};

    use super::*;
    use crate::environment_leases::EnvironmentLeases;
    use crate::environments::Environments;
    use crate::limits::ExpiryLimits;
    use crate::nodes::NodesConfig;
    use crate::projections::Projections;

    #[tokio::test]
    async fn a_cordon_from_before_the_subscription_is_read() {
        let store = Arc::new(Memory::new(1));
        let clock = Arc::new(SystemClock);
        let registry = Registry::load(
            Arc::clone(&store) as _,
            Arc::clone(&clock) as _,
            Registry::DEFAULT_INTERVAL,
        );
        let leases = EnvironmentLeases::new(Arc::clone(&store) as _, true);
        let nodes = Nodes::load(NodesConfig {
            journal: Arc::clone(&store) as _,
            deployments: Arc::clone(&store) as _,
            projections: Projections::new(Arc::clone(&store) as _),
            registry: registry.await.unwrap(),
            environments: Environments::new(BTreeMap::new()),
            clock,
            cordoned: Arc::default(),
            arrived: Arc::default(),
            leases: Arc::new(leases),
            expiry: ExpiryLimits::default(),
        });
        let nodes = nodes.await.unwrap();
        // By another engine, between the start of this one and its subscription.
        let cordoned = EnvironmentEventBody::Cordoned {
            node: "a".parse().unwrap(),
            by: "ada".to_owned(),
            reason: None,
        };
        let append = EnvironmentAppend {
            environment: "production".parse().unwrap(),
            fence: None,
            newest_cordon: None,
            at: hotswap_core::Timestamp::from_millis(1),
            bodies: vec![cordoned],
        };
        store.append_to_environment(append).await.unwrap();
        let is_cordoned = || {
            let (environment, node) = ("production".parse().unwrap(), "a".parse().unwrap());
            nodes.cordon_of(&environment, &node).is_some()
        };
        assert!(!is_cordoned());
        let follow = nodes.clone().follow(store.epochs());
        let until_cordoned = async {
            while !is_cordoned() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let both = async {
            tokio::select! {
                () = follow => {}
                () = until_cordoned => {}
            }
        };
        tokio::time::timeout(Duration::from_secs(30), both)
            .await
            .unwrap();
        assert!(is_cordoned());
    }
}
