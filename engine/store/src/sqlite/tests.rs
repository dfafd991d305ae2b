//! Batches, full disks and the write-ahead log: tests that need the inside of the store.

use std::env;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command as Process;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hotswap_core::{
    Append, Call, Deployment, DeploymentId, Digest, EventBody, Fence, Header, Level, ModuleVersion,
    Requester, StrategyRef, Timestamp,
};
use rusqlite::Connection;
use semver::Version;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::encoded_events::EncodedEvents;
use super::wal::WAL_BYTES;
use super::*;
use crate::{AppendError, Head, Journal as _, NewSnapshot};

async fn store() -> (TempDir, Sqlite) {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(folder.path().join("engine.db")).await.unwrap();
    (folder, store)
}

async fn create(store: &Sqlite, module: &str) -> DeploymentId {
    let module = ModuleVersion {
        name: module.parse().unwrap(),
        version: Version::new(1, 0, 0),
        digest: Digest::of(b"artifact"),
    };
    let strategy = StrategyRef {
        name: "direct".parse().unwrap(),
        version: "1.0.0".to_owned(),
        digest: Digest::of(b"strategy"),
        wit: Version::new(0, 1, 0),
    };
    let requester = Requester {
        email: "ada@example.org".to_owned(),
        subject: "ada".to_owned(),
    };
    let (id, environment) = (DeploymentId::generate(), "production".parse().unwrap());
    let header = Header::new(id, module, environment, strategy, requester);
    store
        .create(header, Timestamp::from_millis(1))
        .await
        .unwrap();
    let planned = EventBody::Planned {
        nodes: Vec::new(),
        missing: Vec::new(),
        cordoned: Vec::new(),
    };
    store.append(append(id, 1, None, planned)).await.unwrap();
    id
}

fn append(
    deployment: DeploymentId,
    expected: u64,
    fence: Option<Fence>,
    body: EventBody,
) -> Append {
    Append {
        deployment,
        expected,
        fence,
        at: Timestamp::from_millis(2),
        bodies: vec![body],
    }
}

fn log(bytes: usize) -> EventBody {
    EventBody::Called {
        call: 0,
        request: Call::Log {
            level: Level::Info,
            message: "x".repeat(bytes),
        },
        due: None,
        readings: Vec::new(),
        answer: None,
    }
}

/// Blocks the writer until the sender is dropped.
async fn block_writer(store: &Sqlite) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (entered, entering) = oneshot::channel();
    let mut entered = Some(entered);
    let blocked = store.clone();
    tokio::spawn(async move {
        let wait = move |_: &Connection| {
            if let Some(entered) = entered.take() {
                entered.send(()).unwrap();
            }
            let _ = released.recv();
            Ok(())
        };
        blocked.edit(wait).await.unwrap();
    });
    entering.await.unwrap();
    release
}

async fn wait_until_queued(store: &Sqlite, commands: usize) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while store.inner.writer.queued() < commands {
        assert!(Instant::now() < deadline, "the commands did not arrive");
        tokio::task::yield_now().await;
    }
}

/// An append with the command that carries it out, and where its reply goes.
fn append_command(append: Append) -> (Command, oneshot::Receiver<Result<Head, AppendError>>) {
    let events = EncodedEvents::encode(&append.bodies).unwrap();
    let (reply, replied) = oneshot::channel();
    let command = Command::Append {
        append,
        events,
        reply,
    };
    (command, replied)
}

/// Waits until the thread has ended what it replied to last.
async fn wait_until_free(store: &Sqlite) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !store.inner.writer.is_free() {
        assert!(Instant::now() < deadline, "the writer is not free");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_meets_nobody_is_executed_by_its_task() {
    let (_folder, store) = store().await;
    let id = create(&store, "alone").await;
    // Who appends has its reply before subscribers are told.
    wait_until_free(&store).await;
    let mut notifications = store.subscribe();
    let (command, mut replied) = append_command(append(id, 2, None, log(5)));
    assert!(store.inner.writer.try_execute(command).is_none());
    assert_eq!(replied.try_recv().unwrap().unwrap().next_seq, 3);
    assert_eq!(notifications.try_recv().unwrap().head.next_seq, 3);
    assert_eq!(store.events(id, 0, 9).await.unwrap().len(), 3);

    // Once others wait, all share a transaction.
    let release = block_writer(&store).await;
    let (command, _) = append_command(append(id, 3, None, log(5)));
    assert!(store.inner.writer.try_execute(command).is_some());
    drop(release);
    store.close().await;
    let (command, _) = append_command(append(id, 3, None, log(5)));
    assert!(store.inner.writer.try_execute(command).is_some());
}

/// No other thread could go on with the work of this one.
#[tokio::test]
async fn the_only_thread_of_a_runtime_does_not_write() {
    let (_folder, store) = store().await;
    let id = create(&store, "alone").await;
    let (command, _) = append_command(append(id, 2, None, log(5)));
    wait_until_free(&store).await;
    assert!(store.inner.writer.try_execute(command).is_some());
    store.append(append(id, 2, None, log(5))).await.unwrap();
    store.close().await;
}

/// Four tasks append at the same time, so that sometimes a task writes and sometimes the thread. No
/// append is lost, none waits for ever, and positions follow the order of the commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_and_the_thread_take_turns() {
    const APPENDS: u64 = 200;
    let (_folder, store) = store().await;
    let mut notifications = store.subscribe();
    let mut tasks = JoinSet::new();
    for number in 0..4 {
        let id = create(&store, &format!("m{number}")).await;
        let store = store.clone();
        tasks.spawn(async move {
            for seq in 2..2 + APPENDS {
                let appended = store.append(append(id, seq, None, log(5))).await.unwrap();
                assert_eq!(appended.next_seq, seq + 1);
                if seq % 16 == number {
                    tokio::task::yield_now().await;
                }
            }
            id
        });
    }
    for id in tasks.join_all().await {
        let events = store.events(id, 0, usize::MAX).await.unwrap();
        assert_eq!(events.len() as u64, 2 + APPENDS);
    }
    let (mut last, end) = (0, store.last_position().await.unwrap());
    while last < end {
        let appended = notifications.recv().await.unwrap();
        assert!(appended.position > last);
        last = appended.position;
    }
    assert_eq!(last, end);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_command_does_not_fail_its_batch() {
    let (_folder, store) = store().await;
    let mut notifications = store.subscribe();
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(create(&store, &format!("m{number}")).await);
    }
    let release = block_writer(&store).await;
    let mut tasks = JoinSet::new();
    for id in ids.clone() {
        let store = store.clone();
        tasks.spawn(async move { store.append(append(id, 2, None, log(5))).await.is_ok() });
    }
    wait_until_queued(&store, 10).await;
    let failing = store.clone();
    let failing = tokio::spawn(async move {
        let edit = |connection: &Connection| {
            connection.execute_batch(
                "INSERT INTO module VALUES ('half', '1.0.0', '', 0, 0, '');
                 INSERT INTO nowhere VALUES (1)",
            )
        };
        failing.edit(edit).await
    });
    wait_until_queued(&store, 11).await;
    drop(release);
    assert_eq!(tasks.join_all().await, [true; 10]);
    let failed = failing.await.unwrap();
    assert!(matches!(failed, Err(Error::Write(_))), "{failed:?}");
    let query = "SELECT count(*) FROM module";
    let rows =
        store.read(move |connection| connection.query_row(query, [], |row| row.get::<_, i64>(0)));
    assert_eq!(rows.await.unwrap(), 0, "half of the failed edit is stored");

    for _ in 0..30 {
        notifications.recv().await.unwrap();
    }
    for id in ids {
        let events = store.events(id, 0, 9).await.unwrap();
        assert_eq!(Deployment::fold(&events).unwrap().next_seq, 3);
        store.append(append(id, 3, None, log(5))).await.unwrap();
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_fails_only_appends() {
    async fn set_max_pages(store: &Sqlite, max: i64) {
        let limit = move |connection: &Connection| {
            let pragma = format!("PRAGMA max_page_count = {max}");
            connection.query_row(&pragma, [], |row| row.get::<_, i64>(0))
        };
        assert_eq!(store.edit(limit).await.unwrap(), max);
    }
    let (folder, store) = store().await;
    set_max_pages(&store, 200).await;
    let mut tasks = JoinSet::new();
    for number in 0..16 {
        let store = store.clone();
        tasks.spawn(async move {
            let id = create(&store, &format!("m{number}")).await;
            let mut next = 2;
            loop {
                match store.append(append(id, next, None, log(9_000))).await {
                    Ok(head) => next = head.next_seq,
                    Err(AppendError::Store(error)) => break (id, next, error.to_string()),
                    Err(other) => panic!("{other:?}"),
                }
            }
        });
    }
    let ends = tasks.join_all().await;
    let id = ends[0].0;
    assert_eq!(store.head(id).await.unwrap().next_seq, ends[0].1);
    // Small appends may still succeed, and an invalid one is rejected for the right reason.
    let wrong = store.append(append(id, 99, None, log(1))).await;
    assert!(matches!(wrong, Err(AppendError::Conflict(_))), "{wrong:?}");

    set_max_pages(&store, 1_000_000).await;
    for (id, next, error) in &ends {
        assert!(error.contains("check that the disk has room"), "{error}");
        let events = store.events(*id, 0, usize::MAX).await.unwrap();
        assert_eq!(Deployment::fold(&events).unwrap().next_seq, *next);
        store
            .append(append(*id, *next, None, log(9_000)))
            .await
            .unwrap();
    }
    store.close().await;
    let store = Sqlite::open(folder.path().join("engine.db")).await.unwrap();
    for (id, next, _) in &ends {
        assert_eq!(store.head(*id).await.unwrap().next_seq, next + 1);
    }
    store.close().await;
}

/// Each query keeps the log from starting again, and there is always one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wal_is_preallocated_and_does_not_grow() {
    let (folder, store) = store().await;
    let wal_bytes = || {
        let wal = folder.path().join("engine.db-wal");
        std::fs::metadata(wal).unwrap().len()
    };
    assert_eq!(wal_bytes(), WAL_BYTES);
    let mut readers = JoinSet::new();
    let read = create(&store, "read").await;
    for call in 0..40 {
        let append = append(read, 2 + call, None, log(80_000));
        store.append(append).await.unwrap();
    }
    for _ in 0..4 {
        let store = store.clone();
        readers.spawn(async move {
            loop {
                store.events(read, 0, 42).await.unwrap();
            }
        });
    }
    let mut writers = JoinSet::new();
    for number in 0..4 {
        let store = store.clone();
        writers.spawn(async move {
            let id = create(&store, &format!("m{number}")).await;
            for call in 0..400 {
                let append = append(id, 2 + call, None, log(80_000));
                store.append(append).await.unwrap();
                let snapshot = NewSnapshot {
                    deployment: id,
                    format: 1,
                    next_seq: 3 + call,
                    ended: false,
                    summary: Vec::new(),
                    state: vec![b'x'; 80_000],
                };
                store.put_snapshot(snapshot).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    readers.shutdown().await;
    // 256 MB went through it. How much of that during checkpoints depends on the disk.
    assert!(wal_bytes() < 7 * WAL_BYTES, "{} bytes", wal_bytes());
    store.close().await;
}

/// Has a process of [`a_panic_of_the_writer_ends_the_process`] open a store here.
const FOLDER: &str = "HOTSWAP_TEST_WRITER_FOLDER";

/// Not a test by itself: what [`Process`] starts anew.
#[tokio::test]
async fn child() {
    let Ok(folder) = env::var(FOLDER) else { return };
    let store = Sqlite::open(format!("{folder}/engine.db")).await.unwrap();
    create(&store, "stored").await;
    let panic = |_: &Connection| -> rusqlite::Result<()> { panic!("as the test wants") };
    let _ = store.edit(panic).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
}

/// Without its writer an engine would answer reads, and nothing else.
#[tokio::test]
async fn a_panic_of_the_writer_ends_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let output = Process::new(env::current_exe().unwrap())
        .args(["--exact", "sqlite::tests::child"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(6), "{output:?}");
    let store = Sqlite::open(folder.path().join("engine.db")).await.unwrap();
    assert_eq!(store.open_deployments().await.unwrap().len(), 1);
    store.close().await;
}
