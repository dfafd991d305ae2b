//! The sample traffic of `hotswap dev`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use super::samples::{self, MODULE};
use crate::client::Client;

/// The most requests in flight: a node that hangs must not pile them up here.
const MAX_IN_FLIGHT: usize = 256;
/// A request that takes longer has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the nodes' addresses are read: a node that was started again has other ports.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// The seconds over which the shares of the versions are counted.
const WINDOW_SECONDS: usize = 10;

/// Sends the same number of requests each second, spread over all nodes. Dropping it stops
/// the requests.
pub struct Traffic {
    statistics: Arc<Mutex<Statistics>>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

/// The results of the requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Finished requests, failed ones included.
    pub total: u64,
    /// Failed requests: no response, or a status of 400 or more.
    pub failed: u64,
    /// Responses of each version in each of the last seconds, the newest last.
    seconds: VecDeque<BTreeMap<String, u64>>,
}

impl Traffic {
    /// Starts to send `rate` requests a second; none for 0. Must be called within a runtime.
    pub fn start(client: Client, rate: u32) -> Self {
        let statistics = Arc::<Mutex<Statistics>>::default();
        if rate == 0 {
            return Self {
                statistics,
                _tasks: Vec::new(),
            };
        }
        let targets = Arc::<Mutex<Vec<String>>>::default();
        let refresh = refresh_targets(client, Arc::clone(&targets), Arc::clone(&statistics));
        let send = send_requests(rate, targets, Arc::clone(&statistics));
        let tasks = vec![tokio::spawn(refresh), tokio::spawn(send)];
        let tasks = tasks.into_iter().map(AbortOnDropHandle::new).collect();
        Self {
            statistics,
            _tasks: tasks,
        }
    }

    /// The results so far.
    pub fn statistics(&self) -> Statistics {
        lock(&self.statistics).clone()
    }
}

impl Statistics {
    /// Counts one request by the version that responded, or as failed for `None`.
    fn count(&mut self, version: Option<String>) {
        self.total += 1;
        match version {
            None => self.failed += 1,
            Some(version) => {
                if self.seconds.is_empty() {
                    self.seconds.push_back(BTreeMap::new());
                }
                if let Some(second) = self.seconds.back_mut() {
                    *second.entry(version).or_default() += 1;
                }
            }
        }
    }

    /// Starts the next second.
    fn next_second(&mut self) {
        if self.seconds.len() == WINDOW_SECONDS {
            self.seconds.pop_front();
        }
        self.seconds.push_back(BTreeMap::new());
    }

    /// The share of each version in the last seconds, in percent.
    pub fn shares(&self) -> Vec<(String, u64)> {
        let mut counts = BTreeMap::<&String, u64>::new();
        for (version, count) in self.seconds.iter().flatten() {
            *counts.entry(version).or_default() += count;
        }
        let total = counts.values().sum::<u64>().max(1);
        let share =
            |(version, count): (&String, u64)| (version.clone(), (count * 100 + total / 2) / total);
        counts.into_iter().map(share).collect()
    }
}

async fn refresh_targets(
    client: Client,
    targets: Arc<Mutex<Vec<String>>>,
    statistics: Arc<Mutex<Statistics>>,
) {
    let mut refresh = interval(REFRESH_INTERVAL);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        refresh.tick().await;
        lock(&statistics).next_second();
        // While the engine does not answer, the known addresses stay in use.
        if let Ok(nodes) = samples::list_nodes(&client).await {
            let passing = nodes.into_iter().filter(|node| node.health == "passing");
            *lock(&targets) = passing
                .map(|node| format!("{}/{MODULE}", node.data_url))
                .collect();
        }
    }
}

async fn send_requests(
    rate: u32,
    targets: Arc<Mutex<Vec<String>>>,
    statistics: Arc<Mutex<Statistics>>,
) {
    let Ok(http) = super::local_client() else {
        return;
    };
    let slots = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
    let mut next = interval(Duration::from_secs(1) / rate);
    next.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut turn = 0_usize;
    // Dropping the set, with this task, stops the requests in flight.
    let mut requests = tokio::task::JoinSet::new();
    loop {
        next.tick().await;
        while requests.try_join_next().is_some() {}
        let target = {
            let targets = lock(&targets);
            targets.get(turn % targets.len().max(1)).cloned()
        };
        turn = turn.wrapping_add(1);
        let (Some(target), Ok(slot)) = (target, Arc::clone(&slots).acquire_owned().await) else {
            continue;
        };
        let (http, statistics) = (http.clone(), Arc::clone(&statistics));
        requests.spawn(async move {
            let version = request_version(&http, &target).await;
            lock(&statistics).count(version);
            drop(slot);
        });
    }
}

/// The version that responds, as its response says.
async fn request_version(http: &reqwest::Client, target: &str) -> Option<String> {
    let response = http.get(target).timeout(REQUEST_TIMEOUT).send();
    let response = response.await.ok()?;
    let body = response.error_for_status().ok()?.text().await.ok()?;
    Some(parse_version(&body).to_owned())
}

/// `v2` from `hello from v2: /`.
fn parse_version(body: &str) -> &str {
    let version = body
        .split_once("from ")
        .and_then(|(_, rest)| rest.split(':').next());
    version
        .filter(|version| version.len() < 8)
        .unwrap_or("another")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_counted_by_version_over_the_last_seconds() {
        let mut statistics = Statistics::default();
        statistics.count(Some("v1".to_owned()));
        statistics.count(None);
        statistics.count(Some("v1".to_owned()));
        statistics.count(Some("v2".to_owned()));
        assert_eq!((statistics.total, statistics.failed), (4, 1));
        assert_eq!(
            statistics.shares(),
            [("v1".to_owned(), 67), ("v2".to_owned(), 33)]
        );
        for _ in 0..WINDOW_SECONDS {
            statistics.next_second();
        }
        statistics.count(Some("v2".to_owned()));
        assert_eq!(statistics.shares(), [("v2".to_owned(), 100)]);
    }

    #[test]
    fn the_version_is_parsed_from_the_response() {
        assert_eq!(parse_version("hello from v2: /\n"), "v2");
        assert_eq!(parse_version("something else"), "another");
    }
}
