use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use async_trait::async_trait;
use hotswap_core::{NodeId, SystemClock};
use hotswap_fleet::discovery::{
    Backend, Discovery as _, Error, Instance, Snapshot, WatchOptions, WatchedSource,
};
use hotswap_tests::bench::{median, print_row, resident_memory};
use tokio_util::task::AbortOnDropHandle;

use crate::MEBIBYTE;
use crate::instance::{INSTANCES, instance};

const LOOKUPS: usize = 2_000_000;

/// Answers once.
struct Once(Option<Snapshot>);

#[async_trait]
impl Backend for Once {
    async fn watch(&mut self, _: Option<String>, _: Duration) -> Result<Snapshot, Error> {
        match self.0.take() {
            Some(snapshot) => Ok(snapshot),
            None => std::future::pending().await,
        }
    }
}

fn ids() -> Vec<NodeId> {
    // Not in the order of the map.
    let numbers = (0..INSTANCES).map(|number| number * 7919 % INSTANCES);
    numbers.map(|number| instance(number).id).collect()
}

async fn filled() -> (WatchedSource, AbortOnDropHandle<()>) {
    let snapshot = Snapshot {
        instances: (0..INSTANCES).map(instance).collect(),
        invalid: Vec::new(),
        cursor: "1".to_owned(),
    };
    let clock = Arc::new(SystemClock);
    let source = WatchedSource::new("main", "once", clock, WatchOptions::default(), None);
    let mut changes = source.changes();
    let running = source.clone();
    let task = tokio::spawn(async move { running.run(Once(Some(snapshot))).await });
    let _ = changes.changed().await;
    (source, AbortOnDropHandle::new(task))
}

/// A look-up in the view, beside one in a plain map.
pub async fn measure_lookup() -> Result<()> {
    let (source, _task) = filled().await;
    let plain = source.instances().into_iter();
    let plain: BTreeMap<NodeId, Arc<Instance>> = plain.map(|it| (it.id.clone(), it)).collect();
    let ids = ids();
    let nanos = |lookup: &dyn Fn(&NodeId) -> Option<Arc<Instance>>| {
        let started = Instant::now();
        for id in ids.iter().cycle().take(LOOKUPS) {
            black_box(lookup(black_box(id)));
        }
        started.elapsed().as_nanos() as f64 / LOOKUPS as f64
    };
    let (mut own, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        own.push(nanos(&|id| source.instance(id)));
        bare.push(nanos(&|id| plain.get(id).cloned()));
    }
    let (own, bare) = (median(own), median(bare));
    print_row(
        "look-up among 10,000 instances",
        &format!("{own:.0} ns"),
        &format!("plain map {bare:.0} ns"),
        own / bare,
        1.5,
    );
    Ok(())
}

/// The memory of the view, beside that of a plain list.
pub async fn measure_memory() -> Result<()> {
    let before = resident_memory()? as f64;
    let plain: Vec<_> = (0..INSTANCES).map(instance).collect();
    let bare = resident_memory()? as f64 - before;
    let before = resident_memory()? as f64;
    let (source, _task) = filled().await;
    let own = resident_memory()? as f64 - before;
    black_box((plain.len(), source.state()));
    print_row(
        "memory of a view of 10,000 instances",
        &format!("{:.1} MiB", own / MEBIBYTE),
        &format!("a plain list {:.1} MiB", bare / MEBIBYTE),
        own / bare,
        3.0,
    );
    Ok(())
}
