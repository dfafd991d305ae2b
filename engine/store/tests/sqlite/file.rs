//! The database file: its lock, its schema, and copies of it.

use std::path::Path;
use std::process::id;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hotswap_core::{Call, Deployment, DeploymentId, EventBody};
use hotswap_store::{AppendError, Catalogue, Error, Journal, ReadError, Sqlite};
use rusqlite::Connection;
use tokio::task::JoinSet;

use crate::SqliteFixture;
use crate::suite::{StoreFixture, append, create, log, must_append, planned};

#[tokio::test]
async fn a_second_open_of_the_same_file_is_rejected() {
    let files = SqliteFixture::new();
    let store = files.open().await;
    let error = Sqlite::open(files.path()).await.unwrap_err();
    assert!(matches!(&error, Error::Locked { path, .. } if *path == files.path()));
    let text = error.to_string();
    assert!(text.contains(&format!("this process ({})", id())), "{text}");
    assert!(text.contains("data folder of its own"), "{text}");
    store.close().await;
    let store = files.open().await;
    store.close().await;
}

#[tokio::test]
async fn calls_on_a_closed_store_fail() {
    let files = SqliteFixture::new();
    let store = files.open().await;
    let other = store.clone();
    let id = create(&store, "checkout", "production").await;
    store.close().await;
    // Closing again, concurrently, and by another handle changes nothing.
    tokio::join!(store.close(), other.close());
    let closed = |error: &(dyn std::error::Error + 'static)| error.to_string().contains("closed");
    let appended = other.append(append(id, 1, None, &[planned()])).await;
    let Err(AppendError::Store(source)) = appended else {
        panic!("{appended:?}");
    };
    assert!(closed(&*source), "{source}");
    let read = other.head(id).await;
    let Err(ReadError::Store(source)) = read else {
        panic!("{read:?}");
    };
    assert!(closed(&*source), "{source}");
    assert!(closed(&*other.nodes().await.unwrap_err()));
    // One file is left to copy.
    let wal = files.path().with_extension("db-wal");
    assert!(!wal.exists(), "{} is still there", wal.display());
}

#[tokio::test]
async fn commands_queued_before_close_are_executed() {
    let files = SqliteFixture::new();
    let store = files.open().await;
    let mut tasks = JoinSet::new();
    for number in 0..50 {
        let store = store.clone();
        tasks.spawn(async move {
            let header = crate::suite::header(&format!("m{number}"), "qa");
            (header.id, store.create(header, crate::suite::at(1)).await)
        });
    }
    store.close().await;
    let mut created = Vec::new();
    for (id, result) in tasks.join_all().await {
        if result.is_ok() {
            created.push(id);
        }
    }
    let store = files.open().await;
    let mut open = store.open_deployments().await.unwrap();
    open.sort();
    created.sort();
    assert_eq!(open, created);
    store.close().await;
}

#[tokio::test]
async fn a_foreign_or_newer_file_is_rejected() {
    let files = SqliteFixture::new();
    files.open().await.close().await;
    let change = |pragma: &str| {
        let connection = Connection::open(files.path()).unwrap();
        connection.execute_batch(pragma).unwrap();
    };
    change("PRAGMA user_version = 99");
    let error = Sqlite::open(files.path()).await.unwrap_err();
    assert!(matches!(error, Error::Newer { found: 99, .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("start the newer release"), "{text}");
    change("PRAGMA user_version = 1; PRAGMA application_id = 7");
    let error = Sqlite::open(files.path()).await.unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error:?}");
    std::fs::write(
        files.path(),
        "this is no database, but a text of some length",
    )
    .unwrap();
    let error = Sqlite::open(files.path()).await.unwrap_err();
    assert!(matches!(error, Error::Open { .. }), "{error:?}");
}

/// The statements of its schema.
fn schema(connection: &Connection) -> Vec<String> {
    let query = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
    let mut query = connection.prepare(query).unwrap();
    let statements = query.query_map([], |row| row.get(0)).unwrap();
    statements.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn a_file_of_the_first_schema_is_migrated() {
    let files = SqliteFixture::new();
    let store = files.open().await;
    let id = create(&store, "checkout", "production").await;
    let waiting = create(&store, "search", "production").await;
    let sleep = EventBody::Called {
        call: 0,
        request: Call::Sleep { span: 1000 },
        due: None,
        readings: Vec::new(),
        answer: None,
    };
    must_append(&store, waiting, 1, &[planned(), sleep]).await;
    let old_epoch = store.epoch();
    store.close().await;
    {
        let first = Connection::open_in_memory().unwrap();
        first
            .execute_batch(include_str!("../../src/sqlite/schema/1.sql"))
            .unwrap();
        let file = Connection::open(files.path()).unwrap();
        file.execute_batch(
            "DROP TABLE environment_event; DROP TABLE environment; DROP TABLE retirement;
            DROP TABLE cordon; DROP TABLE arrival; DROP TABLE policy;
            DROP TABLE discovery_backend;
            DROP INDEX deployment_environment_module;
            DROP TABLE snapshot; DROP TABLE deleted;
            DROP INDEX deployment_module_environment; DROP INDEX deployment_module_status;
            DROP INDEX deployment_environment_status;
            DROP INDEX deployment_module_environment_status;
            DROP INDEX deployment_environment_succeeded;
            DROP INDEX deployment_idempotency_key;
            DROP INDEX deployment_environment_selector;
            ALTER TABLE deployment DROP COLUMN selector;
            ALTER TABLE deployment DROP COLUMN idempotency_key;
            ALTER TABLE deployment DROP COLUMN requester;
            ALTER TABLE node DROP COLUMN instance;
            DROP TABLE epoch;
            DROP INDEX deployment_open;
            ALTER TABLE deployment DROP COLUMN waits;
            CREATE UNIQUE INDEX deployment_open ON deployment (module, environment) WHERE ended = 0;
            UPDATE deployment SET lifecycle = replace(lifecycle, ',\"waiting\":true', '');
            PRAGMA user_version = 1",
        )
        .unwrap();
        assert_eq!(schema(&file), schema(&first));
    }

    let store = files.open().await;
    let epoch = store.epoch();
    assert_eq!(epoch.len(), old_epoch.len());
    assert_ne!(epoch, old_epoch);
    assert_eq!(store.events_after(0, 9).await.unwrap()[0].deployment, id);
    must_append(&store, id, 1, &[planned()]).await;
    // The first schema did not tell that.
    assert!(store.head(waiting).await.unwrap().lifecycle.waiting);
    store.close().await;
    let store = files.open().await;
    assert_eq!(store.epoch(), epoch);
    store.close().await;
}

/// A copy of database and write-ahead log contains everything that was acknowledged before the
/// copy began, as would the disk of a machine that lost its power then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_an_open_store_is_whole() {
    let files = SqliteFixture::new();
    let store = files.open().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for number in 0..8 {
        let (store, stop) = (store.clone(), Arc::clone(&stop));
        tasks.spawn(async move {
            let id = create(&store, &format!("m{number}"), "production").await;
            let mut head = must_append(&store, id, 1, &[planned()]).await;
            while !stop.load(Ordering::Relaxed) {
                // Long, so that the write-ahead log is restarted now and then.
                let bodies = [log(0, &"x".repeat(20_000)), log(1, "y")];
                head = must_append(&store, id, head.next_seq, &bodies).await;
            }
        });
    }
    while store.open_deployments().await.unwrap().len() < 8 {
        tokio::task::yield_now().await;
    }
    for round in 0..5 {
        let mut acknowledged: Vec<(DeploymentId, u64)> = Vec::new();
        for id in store.open_deployments().await.unwrap() {
            acknowledged.push((id, store.head(id).await.unwrap().next_seq));
        }
        let copy = files.folder.path().join(format!("copy-{round}"));
        std::fs::create_dir(&copy).unwrap();
        copy_at_one_moment(&files.path(), &copy);
        let copied = Sqlite::open(copy.join("engine.db")).await.unwrap();
        for (id, next) in acknowledged {
            let events = copied.events(id, 0, usize::MAX).await.unwrap();
            let folded = Deployment::fold(&events).unwrap();
            assert!(folded.next_seq >= next, "{} of {next}", folded.next_seq);
            assert!(
                folded.next_seq <= 2 || folded.next_seq.is_multiple_of(2),
                "half an append is stored"
            );
        }
        copied.close().await;
    }
    stop.store(true, Ordering::Relaxed);
    tasks.join_all().await;
    store.close().await;
}

/// Copies the two files as they are at one moment. While a reader uses the write-ahead log,
/// SQLite does not restart it, so its copied start stays valid. The database changes only by
/// pages that are in the log too. `cp` copies the files in this order.
fn copy_at_one_moment(database: &Path, folder: &Path) {
    let reader = Connection::open(database).unwrap();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM deployment")
        .unwrap();
    // By another process: if this one opened and closed the file, it would lose the locks
    // that SQLite holds on it.
    let copied = std::process::Command::new("cp")
        .args([database, &database.with_extension("db-wal"), folder])
        .status();
    assert!(copied.unwrap().success());
}
