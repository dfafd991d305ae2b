use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use super::seed::{self, MODULE};
use crate::client::Client;

/// Requests that are on their way at the same moment: a node that hangs must not pile
/// them up here.
const IN_FLIGHT: usize = 256;
/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often nodes are looked for: one that was started again has other ports.
const LOOK: Duration = Duration::from_secs(1);
/// The seconds over which the shares of versions are counted.
const WINDOW: usize = 10;

/// A gentle stream of requests over all nodes, each second the same number. Dropping it
/// ends it.
pub struct Traffic {
    score: Arc<Mutex<Score>>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

/// What came of the requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Score {
    /// Requests that were answered or failed.
    pub total: u64,
    /// Requests that failed: no answer, or a status of 500 or more.
    pub failed: u64,
    /// Answers of each version, second by second, the newest last.
    recent: VecDeque<BTreeMap<String, u64>>,
}

impl Traffic {
    /// Begins `rate` requests a second; none for 0. Must be called within a runtime.
    pub fn start(client: Client, rate: u32) -> Self {
        let score = Arc::<Mutex<Score>>::default();
        if rate == 0 {
            return Self {
                score,
                _tasks: Vec::new(),
            };
        }
        let targets = Arc::<Mutex<Vec<String>>>::default();
        let looking = look(client, Arc::clone(&targets), Arc::clone(&score));
        let sending = send(rate, targets, Arc::clone(&score));
        let tasks = vec![tokio::spawn(looking), tokio::spawn(sending)];
        let tasks = tasks.into_iter().map(AbortOnDropHandle::new).collect();
        Self {
            score,
            _tasks: tasks,
        }
    }

    /// What came of the requests so far.
    pub fn score(&self) -> Score {
        lock(&self.score).clone()
    }
}

impl Score {
    /// Counts one request: the version that answered, or nothing where it failed.
    fn count(&mut self, version: Option<String>) {
        self.total += 1;
        match version {
            None => self.failed += 1,
            Some(version) => {
                if self.recent.is_empty() {
                    self.recent.push_back(BTreeMap::new());
                }
                if let Some(second) = self.recent.back_mut() {
                    *second.entry(version).or_default() += 1;
                }
            }
        }
    }

    /// Begins the next second.
    fn tick(&mut self) {
        if self.recent.len() == WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(BTreeMap::new());
    }

    /// The share of each version in the last seconds, in percent.
    pub fn shares(&self) -> Vec<(String, u64)> {
        let mut counts = BTreeMap::<&String, u64>::new();
        for (version, count) in self.recent.iter().flatten() {
            *counts.entry(version).or_default() += count;
        }
        let total = counts.values().sum::<u64>().max(1);
        let share =
            |(version, count): (&String, u64)| (version.clone(), (count * 100 + total / 2) / total);
        counts.into_iter().map(share).collect()
    }
}

async fn look(client: Client, targets: Arc<Mutex<Vec<String>>>, score: Arc<Mutex<Score>>) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        look.tick().await;
        lock(&score).tick();
        // Where the engine does not answer, the nodes go on as they are.
        if let Ok(nodes) = seed::nodes(&client).await {
            let alive = nodes.into_iter().filter(|node| node.health == "passing");
            *lock(&targets) = alive
                .map(|node| format!("{}/{MODULE}", node.data_url))
                .collect();
        }
    }
}

async fn send(rate: u32, targets: Arc<Mutex<Vec<String>>>, score: Arc<Mutex<Score>>) {
    let http = reqwest::Client::builder()
        .timeout(PATIENCE)
        .no_proxy()
        .build();
    let Ok(http) = http else { return };
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut next = interval(Duration::from_secs(1) / rate);
    next.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut turn = 0_usize;
    let mut flights = tokio::task::JoinSet::new();
    loop {
        next.tick().await;
        // Dropping the set, with this task, ends the requests that are on their way.
        while flights.try_join_next().is_some() {}
        let target = {
            let targets = lock(&targets);
            targets.get(turn % targets.len().max(1)).cloned()
        };
        turn = turn.wrapping_add(1);
        let (Some(target), Ok(place)) = (target, Arc::clone(&room).acquire_owned().await) else {
            continue;
        };
        let (http, score) = (http.clone(), Arc::clone(&score));
        flights.spawn(async move {
            let version = ask(&http, &target).await;
            lock(&score).count(version);
            drop(place);
        });
    }
}

/// The version that answered, as its answer says.
async fn ask(http: &reqwest::Client, target: &str) -> Option<String> {
    let answer = http
        .get(target)
        .send()
        .await
        .ok()?
        .error_for_status()
        .ok()?;
    Some(version(&answer.text().await.ok()?).to_owned())
}

/// `v2` of `hello from v2: /`.
fn version(body: &str) -> &str {
    let said = body
        .split_once("from ")
        .and_then(|(_, rest)| rest.split(':').next());
    said.filter(|said| said.len() < 8).unwrap_or("another")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_version_and_the_old_are_forgotten() {
        let mut score = Score::default();
        score.count(Some("v1".to_owned()));
        score.count(None);
        score.count(Some("v1".to_owned()));
        score.count(Some("v2".to_owned()));
        assert_eq!((score.total, score.failed), (4, 1));
        assert_eq!(
            score.shares(),
            [("v1".to_owned(), 67), ("v2".to_owned(), 33)]
        );
        for _ in 0..WINDOW {
            score.tick();
        }
        score.count(Some("v2".to_owned()));
        assert_eq!(score.shares(), [("v2".to_owned(), 100)]);
    }

    #[test]
    fn the_version_is_read_from_the_answer() {
        assert_eq!(version("hello from v2: /\n"), "v2");
        assert_eq!(version("something else"), "another");
    }
}
