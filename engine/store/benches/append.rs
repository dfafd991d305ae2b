//! Latency and throughput of appends, compared with the disk in the same run.
//!
//! The disk is measured by writing 4 KiB and `fdatasync`, over bytes that were written before:
//! that is what a commit does, because the write-ahead log keeps its length. For comparison the
//! same is measured at the end of a growing file, where each write costs the file system an
//! entry in its own journal.

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use hotswap_core::DeploymentId;
use hotswap_store::{Journal, Sqlite};
use tokio::task::JoinSet;

use crate::support::{create, median, micros, print_row, sequential, step};

const SEQUENTIAL: usize = 1_000;
const TASKS: usize = 256;
const APPENDS: u64 = 200;
const IDLE: usize = 10_000;
const PAGE: usize = 4096;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder to write in");
    let store = Sqlite::open(folder.path().join("engine.db"))
        .await
        .expect("a store");

    let growing = disk(folder.path(), false);
    // Before and after, because the speed of a disk varies from second to second.
    let mut written = disk(folder.path(), true);
    let appends = sequential(&store, SEQUENTIAL).await;
    written.extend(disk(folder.path(), true));
    let (growing, written) = (median(growing), median(written));
    let append = median(appends);
    print_row("4 KiB + fdatasync, growing file", &micros(growing), "");
    print_row("4 KiB + fdatasync, written before", &micros(written), "");
    let ratio = append.as_secs_f64() / written.as_secs_f64();
    print_row(
        "append of 2 events, one after another",
        &micros(append),
        &format!("{ratio:.2} x"),
    );

    let (took, ids) = concurrent(&store).await;
    let rate = (TASKS as u64 * APPENDS) as f64 / took.as_secs_f64();
    print_row(
        &format!("append of 2 events, {TASKS} at once"),
        &format!("{rate:.0} /s"),
        &format!("{:.1} x", rate * written.as_secs_f64()),
    );

    let start = Instant::now();
    let mut events = 0;
    for id in &ids {
        events += store
            .events(*id, 0, usize::MAX)
            .await
            .expect("events")
            .len();
    }
    let each = start.elapsed().as_secs_f64() / events as f64;
    print_row("read an event", &format!("{:.2} µs", each * 1e6), "");

    let before = resident_bytes();
    let mut tasks = JoinSet::new();
    // A few tasks only, so that the memory of tasks is not what is measured.
    for first in 0..16 {
        let store = store.clone();
        tasks.spawn(async move {
            for number in (first..IDLE).step_by(16) {
                create(&store, &format!("idle-{number}")).await;
            }
        });
    }
    tasks.join_all().await;
    let growth = resident_bytes().saturating_sub(before);
    print_row(
        &format!("memory for each of {IDLE} open deployments"),
        &format!("{} bytes", growth / IDLE as u64),
        "",
    );
    store.close().await;
}

fn disk(folder: &Path, written: bool) -> Vec<Duration> {
    let path = folder.join("disk");
    let file = File::create(&path).expect("a file");
    let page = [7; PAGE];
    if written {
        let zeros = vec![0; PAGE * SEQUENTIAL];
        file.write_all_at(&zeros, 0).expect("room on the disk");
        file.sync_all().expect("a sound disk");
    }
    let mut times = Vec::with_capacity(SEQUENTIAL);
    for number in 0..SEQUENTIAL {
        let start = Instant::now();
        file.write_all_at(&page, (number * PAGE) as u64)
            .expect("room on the disk");
        file.sync_data().expect("a sound disk");
        times.push(start.elapsed());
    }
    std::fs::remove_file(path).expect("the file");
    times
}

async fn concurrent(store: &Sqlite) -> (Duration, Vec<DeploymentId>) {
    let mut leases = Vec::new();
    for number in 0..TASKS {
        let id = create(store, &format!("concurrent-{number}")).await;
        leases.push((id, store.acquire_lease(id).await.expect("a lease").fence));
    }
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for (id, fence) in leases {
        let store = store.clone();
        tasks.spawn(async move {
            for number in 0..APPENDS {
                store
                    .append(step(id, fence, number))
                    .await
                    .expect("an append");
            }
            id
        });
    }
    let ids = tasks.join_all().await;
    (start.elapsed(), ids)
}

/// Resident memory of this process, in bytes.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
