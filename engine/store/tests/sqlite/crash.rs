//! A process is killed while it writes, again and again.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use hotswap_core::{Deployment, DeploymentId};
use hotswap_store::{Journal, Sqlite};
use tokio::task::JoinSet;

use crate::suite::{create, log, must_append, planned};

/// Environment variable that tells the process to be killed where the store is.
const FOLDER: &str = "HOTSWAP_TEST_CRASH_FOLDER";

/// Number of journals that are written concurrently.
const JOURNALS: u32 = 8;

/// What the killed process runs, and a test of its own: appends, and prints a line after each
/// append is acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn append_and_acknowledge() {
    let own = tempfile::tempdir().unwrap();
    let (folder, appends) = match std::env::var_os(FOLDER) {
        Some(folder) => (folder.into(), usize::MAX),
        None => (own.path().to_owned(), 20),
    };
    let store = Sqlite::open(folder.join("engine.db")).await.unwrap();
    let open = store.open_deployments().await.unwrap();
    let mut tasks = JoinSet::new();
    for number in 0..JOURNALS {
        let store = store.clone();
        let open = open.get(number as usize).copied();
        tasks.spawn(async move {
            let id = match open {
                Some(id) => id,
                None => create(&store, &format!("m{number}"), "production").await,
            };
            let mut head = store.head(id).await.unwrap();
            if head.next_seq == 1 {
                head = must_append(&store, id, 1, &[planned()]).await;
            }
            for _ in 0..appends {
                let bodies = [log(0, "a"), log(1, &"b".repeat(500)), log(2, "c")];
                head = must_append(&store, id, head.next_seq, &bodies).await;
                if appends == usize::MAX {
                    // One write, so that a kill leaves no partial line before a whole one.
                    let line = format!("\nacknowledged {id} {}\n", head.next_seq);
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            }
            (id, head)
        });
    }
    for (id, head) in tasks.join_all().await {
        assert_eq!(store.head(id).await.unwrap(), head);
        assert_eq!(head.next_seq, 2 + 3 * appends as u64);
    }
    store.close().await;
}

#[tokio::test]
async fn a_killed_store_has_everything_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged: BTreeMap<DeploymentId, u64> = BTreeMap::new();
    for round in 0..8 {
        // Counted in lines, so that each round makes progress on a slow machine too. Random,
        // so that the kill does not always hit the same point of a transaction.
        let random = DeploymentId::generate().as_bytes()[15];
        let lines = 1 + 20 * round + u32::from(random);
        for line in run_and_kill(folder.path(), lines) {
            let Some(rest) = line.strip_prefix("acknowledged ") else {
                continue;
            };
            if let Some((id, next)) = rest.split_once(' ') {
                let (id, next) = (id.parse().unwrap(), next.parse().unwrap());
                let before = acknowledged.insert(id, next).unwrap_or(0);
                assert!(next > before, "{id} went back from {before} to {next}");
            }
        }
        let store = Sqlite::open(folder.path().join("engine.db")).await.unwrap();
        assert!(!acknowledged.is_empty());
        for (id, next) in &acknowledged {
            let events = store.events(*id, 0, usize::MAX).await.unwrap();
            let folded = Deployment::fold(&events).unwrap();
            assert!(folded.next_seq >= *next, "{} of {next}", folded.next_seq);
            assert_eq!(
                (folded.next_seq - 2) % 3,
                0,
                "a part of an append is stored"
            );
            assert_eq!(folded.lifecycle, store.head(*id).await.unwrap().lifecycle);
        }
        store.close().await;
    }
}

/// Returns all whole lines that the process printed before it died.
fn run_and_kill(folder: &Path, lines: u32) -> Vec<String> {
    let mut child = KillOnDrop::start(folder);
    let output = child.0.stdout.take().unwrap();
    let mut printed = Vec::new();
    let mut reader = BufReader::new(output);
    let mut line = String::new();
    let mut appends = 0;
    while reader.read_line(&mut line).unwrap() > 0 {
        if line.ends_with('\n') {
            printed.push(line.trim_end().to_owned());
        }
        appends += u32::from(line.starts_with("acknowledged"));
        line.clear();
        if appends == lines {
            child.0.kill().unwrap();
        }
    }
    assert!(
        appends >= lines,
        "it ended by itself after {appends} appends"
    );
    printed
}

/// A process that is killed when this value is dropped.
struct KillOnDrop(Child);

impl KillOnDrop {
    fn start(folder: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::append_and_acknowledge", "--nocapture"])
            .env(FOLDER, folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
