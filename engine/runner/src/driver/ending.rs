//! How a deployment ends: the engine's own work, in which the strategy has no say.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use hotswap_core::{Action, EventBody, NodeFailure, NodeId, Order, Outcome, Timestamp};

use super::{Driver, Error, Next, backoff};
use crate::acts::{Acts, side_by_side};
use crate::history::History;
use crate::tape::Tape;

impl Driver<'_> {
    /// Has the nodes drop the version before; one that does not keeps it, no more.
    pub(super) async fn settle(&self, history: History, mut tape: Tape) -> Result<Next, Error> {
        let touched: Vec<_> = history.touched.into_iter().collect();
        let acts = Acts {
            fleet: self.shared.fleet.as_ref(),
            deployment: self.deployment,
            module: &history.header.module,
            plan: &[],
            side_by_side: self.shared.limits.fan_out,
            fence: tape.fence(),
        };
        let operation = format!("{}.settle", self.deployment);
        let failures = acts.order(&touched, &operation, |_| Action::Settle).await;
        tape.push(EventBody::Ended {
            outcome: Outcome::Succeeded,
            failures,
        });
        tape.flush().await?;
        Ok(Next::Over)
    }

    /// Puts every touched node back, trying as long as the policy says.
    pub(super) async fn revert(&self, history: History) -> Result<Next, Error> {
        // A new fence: an order of the strategy that is still under way comes too late.
        let lease = self
            .shared
            .journal
            .acquire_lease(self.deployment)
            .await
            .map_err(Error::Lease)?;
        let mut tape = self.tape(lease.fence).await?;
        let (plan, _) = history.plan.unwrap_or_default();
        let policy = &history.header.policy;
        let since = history
            .reverting
            .map_or_else(|| self.shared.clock.now(), |(_, at)| at);
        let give_up = since + policy.revert_patience;
        let acts = Acts {
            fleet: self.shared.fleet.as_ref(),
            deployment: self.deployment,
            module: &history.header.module,
            plan: &plan,
            side_by_side: side_by_side(policy, plan.len(), self.shared.limits.fan_out),
            fence: lease.fence,
        };
        let acts = &acts;
        let touched = history.touched;
        let mut going = Vec::with_capacity(touched.len());
        for node in &touched {
            going.push(self.put_back(acts, node, give_up));
        }
        let mut gone = stream::iter(going).buffer_unordered(acts.side_by_side);
        let mut failures: Vec<NodeFailure> = Vec::new();
        while let Some(back) = gone.next().await {
            failures.extend(back.err());
        }
        drop(gone);
        failures.sort_by(|one, other| one.node.cmp(&other.node));
        let whole = failures.is_empty() && !touched.is_empty();
        let outcome = if whole {
            Outcome::RolledBack
        } else {
            Outcome::Failed
        };
        tape.push(EventBody::Ended { outcome, failures });
        tape.flush().await?;
        Ok(Next::Over)
    }

    async fn put_back(
        &self,
        acts: &Acts<'_>,
        node: &NodeId,
        give_up: Timestamp,
    ) -> Result<(), NodeFailure> {
        let order = Order {
            operation: format!("{}.revert", self.deployment),
            fence: acts.fence,
            deployment: self.deployment,
            module: acts.module.name.clone(),
            action: acts.undo(node),
        };
        let mut pauses = backoff();
        loop {
            let Err(error) = self.shared.fleet.order(node, &order).await else {
                return Ok(());
            };
            let pause = pauses.next().unwrap_or(Duration::from_secs(30));
            if self.shared.clock.now() + pause >= give_up {
                return Err(NodeFailure {
                    node: node.clone(),
                    error,
                });
            }
            tracing::warn!(deployment = %self.deployment, %node, %error, "node not put back yet");
            tokio::time::sleep(pause).await;
        }
    }
}
