//! Requests that the node sends to its own modules while a soak has too few of clients.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hotswap_core::ModuleName;
use hotswap_protocol::{SyntheticRequest, Version};
use http_body_util::{BodyExt as _, Empty};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::task::AbortOnDropHandle;

use crate::data::{LoadedVersion, SharedRoutingTable};

/// Names the sender to the module: `node`.
const MARK_HEADER: &str = "hotswap-synthetic";
/// The most requests to one version in a second, and the fewest.
const RATES: std::ops::RangeInclusive<f64> = 0.01..=100.0;
/// The longest time for which the engine may ask at once.
const LONGEST: Duration = Duration::from_secs(2 * 60 * 60);
/// Requests that may be unanswered at the same time. While there are as many, no further one is
/// sent: a version that is slow does not get slower by this.
const MAX_UNANSWERED: usize = 32;

/// The synthetic traffic of a node: of each module, as the engine asked last.
#[derive(Debug, Default)]
pub(crate) struct SyntheticTraffic(Mutex<HashMap<ModuleName, Running>>);

/// The traffic of one module. Ends when this is dropped.
#[derive(Debug)]
struct Running {
    settings: watch::Sender<Settings>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug, Clone, PartialEq)]
struct Settings {
    version: Version,
    to_version: bool,
    to_others: bool,
    path: String,
    interval: Duration,
    until: Instant,
}

impl SyntheticTraffic {
    /// Sends requests as asked, instead of those that were asked for before.
    ///
    /// # Errors
    /// What is outside its range, in one sentence.
    pub(super) fn send(
        &self,
        module: &ModuleName,
        routes: &SharedRoutingTable,
        asked: SyntheticRequest,
    ) -> Result<(), String> {
        if !RATES.contains(&asked.rate_per_second) {
            let (min, max) = (RATES.start(), RATES.end());
            return Err(format!(
                "{} requests in a second are outside of {min} to {max}",
                asked.rate_per_second
            ));
        }
        let lasting = Duration::from_millis(asked.lasting_millis).min(LONGEST);
        let settings = Settings {
            version: asked.version,
            to_version: asked.to_version,
            to_others: asked.to_others,
            path: asked.path,
            interval: Duration::from_secs_f64(1.0 / asked.rate_per_second),
            until: Instant::now() + lasting,
        };
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A task that ends does not hear of it any more.
        running.retain(|_, running| !running.settings.is_closed());
        if let Some(known) = running.get(module) {
            known.settings.send_replace(settings);
            return Ok(());
        }
        let (sender, receiver) = watch::channel(settings);
        let task = run(module.clone(), routes.clone(), receiver);
        let task = AbortOnDropHandle::new(tokio::spawn(task));
        let entry = Running {
            settings: sender,
            _task: task,
        };
        running.insert(module.clone(), entry);
        Ok(())
    }
}

/// Sends requests until their time is over and the last is answered, unless more are asked for until
/// then.
async fn run(
    module: ModuleName,
    routes: SharedRoutingTable,
    mut settings: watch::Receiver<Settings>,
) {
    let mut requests = JoinSet::new();
    let mut current = settings.borrow_and_update().clone();
    let mut ticks = every(current.interval);
    loop {
        let is_over = Instant::now() >= current.until;
        tokio::select! {
            biased;
            changed = settings.changed() => {
                if changed.is_err() {
                    return;
                }
                let next = settings.borrow_and_update().clone();
                // Else asking again would send one more request each time.
                if next.interval != current.interval {
                    ticks = every(next.interval);
                }
                current = next;
                continue;
            }
            answered = requests.join_next(), if is_over => match answered {
                Some(_) => continue,
                None => return,
            },
            () = tokio::time::sleep_until(current.until), if !is_over => continue,
            _ = ticks.tick(), if !is_over => {}
        }
        while requests.try_join_next().is_some() {}
        for version in receivers(&module, &routes, &current) {
            if requests.len() < MAX_UNANSWERED {
                requests.spawn(send_one(version, module.clone(), current.path.clone()));
            }
        }
    }
}

fn every(interval: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The versions that get a request.
fn receivers(
    module: &ModuleName,
    routes: &SharedRoutingTable,
    settings: &Settings,
) -> Vec<Arc<LoadedVersion>> {
    let table = routes.load();
    let Some(route) = table.get(module.as_str()) else {
        return Vec::new();
    };
    let loaded = [&route.active, &route.staged].into_iter().flatten();
    let (new, others): (Vec<_>, Vec<_>) =
        loaded.partition(|loaded| loaded.version() == &settings.version);
    // What is staged beside the active version gets no requests but as the new one.
    let active = others.into_iter().filter(|_| settings.to_others).take(1);
    let new = new.into_iter().filter(|_| settings.to_version);
    new.chain(active).cloned().collect()
}

async fn send_one(version: Arc<LoadedVersion>, module: ModuleName, path: String) {
    let request = http::Request::get(format!("http://{module}{path}"))
        .header(MARK_HEADER, "node")
        .body(Empty::<Bytes>::new());
    let Ok(request) = request else {
        return;
    };
    version.counters().count_synthetic();
    let mut body = version.handle(request).await.into_body();
    // To the end: a client that leaves would not be counted.
    while let Some(Ok(_)) = body.frame().await {}
}
