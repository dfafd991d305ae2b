//! The requests that the nodes of a soak send to themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use hotswap_core::{Environment, ModuleVersion, NodeId, SyntheticRequests};
use hotswap_fleet::{Fleet, SyntheticTraffic};

use crate::soak_probes::SoakProbes;

/// Nodes that are asked at the same time.
const CONCURRENT: usize = 32;
/// How much longer than until they are asked again nodes go on, so that one lost request of the
/// engine leaves no gap.
const MARGIN: Duration = Duration::from_secs(10);

/// Probes of a soak: to the new version on the nodes of the canary, and to the version before on
/// those of the baseline. Asked for again at each reading, since nodes end by themselves.
#[derive(Debug)]
pub(super) struct ProbedSoak {
    module: ModuleVersion,
    probes: SoakProbes,
    /// To which versions each node sends: the new one, and the one before.
    nodes: BTreeMap<NodeId, (bool, bool)>,
    /// Why the last node that sends none does not.
    refused: Option<String>,
}

impl ProbedSoak {
    pub(super) fn new(
        probes: SoakProbes,
        module: &ModuleVersion,
        canary: &[NodeId],
        baseline: &[NodeId],
    ) -> Self {
        let mut nodes = BTreeMap::<_, (bool, bool)>::new();
        for node in canary {
            nodes.entry(node.clone()).or_default().0 = true;
        }
        for node in baseline {
            nodes.entry(node.clone()).or_default().1 = true;
        }
        Self {
            module: module.clone(),
            probes,
            nodes,
            refused: None,
        }
    }

    /// Asks the nodes to send requests until they are asked again after `interval`.
    pub(super) async fn go_on(&mut self, of: (&dyn Fleet, &Environment), interval: Duration) {
        self.refused = self.ask(of, 2 * interval + MARGIN).await;
    }

    /// Asks the nodes to end. One that does not hear it ends by itself.
    pub(super) async fn end(&self, fleet: &dyn Fleet, environment: &Environment) {
        self.ask((fleet, environment), Duration::ZERO).await;
    }

    async fn ask(
        &self,
        (fleet, environment): (&dyn Fleet, &Environment),
        lasting: Duration,
    ) -> Option<String> {
        let mut asked = Vec::with_capacity(self.nodes.len());
        for (node, &(to_version, to_others)) in &self.nodes {
            let traffic = SyntheticTraffic {
                version: &self.module,
                to_version,
                to_others,
                path: &self.probes.path,
                rate_per_second: self.probes.rate_per_second,
                lasting,
            };
            asked.push(async move {
                let asked = fleet.send_synthetic(environment, node, &traffic).await;
                asked.err().map(|error| format!("{node}: {error}"))
            });
        }
        let mut answers = stream::iter(asked).buffer_unordered(CONCURRENT);
        let mut refused = None;
        while let Some(answer) = answers.next().await {
            refused = answer.or(refused);
        }
        refused
    }

    /// `30 requests to the new version and 90 to the previous one are probes of the nodes`.
    pub(super) fn describe(&self, sent: SyntheticRequests) -> String {
        let SyntheticRequests { canary, baseline } = sent;
        let refused = self.refused.as_ref();
        let refused = refused.map_or_else(String::new, |refused| {
            format!(" (none are sent by {refused})")
        });
        format!(
            "{canary} requests to the new version and {baseline} to the previous one are probes of \
             the nodes{refused}"
        )
    }
}
