//! The deployments that have not ended, and for how long they wait for people.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hotswap_core::{DeploymentId, Status};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// The statuses of deployments that have not ended.
const OPEN_STATUSES: [Status; 5] = [
    Status::Pending,
    Status::AwaitingApproval,
    Status::Running,
    Status::Paused,
    Status::RollingBack,
];

/// The deployments that have not ended, as this engine sees them. Clones share one map.
#[derive(Clone, Default)]
pub(super) struct OpenDeployments(Arc<Mutex<HashMap<DeploymentId, Open>>>);

/// A deployment that has not ended.
#[derive(Debug, Clone, Copy)]
struct Open {
    status: Status,
    /// When this engine first saw it in this status.
    since: Instant,
}

impl OpenDeployments {
    /// Records the status of a deployment.
    pub fn insert(&self, id: DeploymentId, status: Status, now: Instant) {
        let mut all = self.lock();
        let since = since(&all, id, status, now);
        all.insert(id, Open { status, since });
    }

    /// Forgets a deployment that has ended. Returns whether it was open.
    pub fn remove(&self, id: DeploymentId) -> bool {
        self.lock().remove(&id).is_some()
    }

    /// Records which deployments are open. Returns those that were and are not any more.
    pub fn replace(&self, open: HashMap<DeploymentId, Status>, now: Instant) -> Vec<DeploymentId> {
        let mut all = self.lock();
        let open: HashMap<_, _> = open
            .into_iter()
            .map(|(id, status)| {
                let since = since(&all, id, status, now);
                (id, Open { status, since })
            })
            .collect();
        let before = std::mem::replace(&mut *all, open);
        let is_gone = |id: &DeploymentId| !all.contains_key(id);
        before.into_keys().filter(is_gone).collect()
    }

    /// How many deployments have each status.
    fn counts(&self) -> [(Status, i64); 5] {
        let mut counts = OPEN_STATUSES.map(|status| (status, 0));
        for open in self.lock().values() {
            if let Some((_, count)) = counts.iter_mut().find(|(one, _)| *one == open.status) {
                *count += 1;
            }
        }
        counts
    }

    /// For how long the one that waits longest for a person has waited. Zero where none waits.
    fn longest_wait(&self, now: Instant) -> Duration {
        let all = self.lock();
        let waiting = all
            .values()
            .filter(|open| open.status == Status::AwaitingApproval);
        let waits = waiting.map(|open| now.saturating_duration_since(open.since));
        waits.max().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeploymentId, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Since when a deployment has this status.
fn since(
    all: &HashMap<DeploymentId, Open>,
    id: DeploymentId,
    status: Status,
    now: Instant,
) -> Instant {
    let before = all.get(&id).filter(|open| open.status == status);
    before.map_or(now, |open| open.since)
}

impl Collector for OpenDeployments {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Deployments that have not ended, by status";
        let mut family =
            encoder.encode_descriptor("deployments_open", help, None, MetricType::Gauge)?;
        for (status, count) in self.counts() {
            let labels = [("status", status.as_str())];
            let gauge = family.encode_family(&labels)?;
            ConstGauge::<i64>::new(count).encode(gauge)?;
        }
        let help = "For how long the deployment that waits longest for a person has waited, since \
                    this process started, 0 where none waits";
        let name = "deployments_longest_approval_wait_seconds";
        let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let wait = self.longest_wait(Instant::now());
        ConstGauge::<f64>::new(wait.as_secs_f64()).encode(gauge)
    }
}

impl fmt::Debug for OpenDeployments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.lock().len();
        f.debug_tuple("OpenDeployments").field(&count).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_that_of_one_deployment_and_not_of_those_that_follow_each_other() {
        let (open, start) = (OpenDeployments::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let wait = |seconds| open.longest_wait(at(seconds)).as_secs();
        let [first, second] = [DeploymentId::generate(), DeploymentId::generate()];
        assert_eq!(wait(0), 0);
        open.insert(first, Status::AwaitingApproval, at(0));
        // Another event of the same wait, and what is read anew after a gap.
        open.insert(first, Status::AwaitingApproval, at(5));
        let all = HashMap::from([(first, Status::AwaitingApproval)]);
        assert!(open.replace(all, at(7)).is_empty());
        assert_eq!(wait(10), 10);
        open.insert(second, Status::AwaitingApproval, at(10));
        open.insert(first, Status::Running, at(11));
        assert_eq!(wait(12), 2, "the second alone waits");
        open.insert(first, Status::AwaitingApproval, at(20));
        assert!(open.remove(second) && !open.remove(second));
        assert_eq!(wait(25), 5, "its second wait");
        assert_eq!(open.replace(HashMap::new(), at(30)), [first]);
        assert_eq!(wait(31), 0);
    }
}
