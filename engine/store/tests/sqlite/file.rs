//! The file: who may have it, and what a copy of it holds.

use std::path::Path;
use std::process::id;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hotswap_core::{Deployment, DeploymentId};
use hotswap_store::{AppendError, Catalogue, Error, Journal, ReadError, Sqlite};
use rusqlite::Connection;
use tokio::task::JoinSet;

use crate::Files;
use crate::suite::{Stores, append, begin, log, planned, put};

#[tokio::test]
async fn one_has_the_file_at_a_time() {
    let files = Files::new();
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
async fn what_is_closed_says_so() {
    let files = Files::new();
    let store = files.open().await;
    let other = store.clone();
    let id = begin(&store, "checkout", "production").await;
    store.close().await;
    // Again, and at once, and by another handle: all the same.
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
    // And one file is left to copy.
    let log = files.path().with_extension("db-wal");
    assert!(!log.exists(), "{} is still there", log.display());
}

#[tokio::test]
async fn what_was_asked_before_it_closes_is_done() {
    let files = Files::new();
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
    let mut open = store.open().await.unwrap();
    open.sort();
    created.sort();
    assert_eq!(open, created);
    store.close().await;
}

#[tokio::test]
async fn a_file_of_somebody_else_is_left_alone() {
    let files = Files::new();
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

/// Its schema, statement by statement.
fn schema(connection: &Connection) -> Vec<String> {
    let query = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
    let mut query = connection.prepare(query).unwrap();
    let statements = query.query_map([], |row| row.get(0)).unwrap();
    statements.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn a_file_of_the_first_schema_is_brought_up_to_date() {
    let files = Files::new();
    let store = files.open().await;
    let id = begin(&store, "checkout", "production").await;
    let made_with = store.epoch().to_owned();
    store.close().await;
    {
        let first = Connection::open_in_memory().unwrap();
        first
            .execute_batch(include_str!("../../src/sqlite/schema/1.sql"))
            .unwrap();
        let file = Connection::open(files.path()).unwrap();
        file.execute_batch("DROP TABLE epoch; PRAGMA user_version = 1")
            .unwrap();
        assert_eq!(schema(&file), schema(&first));
    }

    let store = files.open().await;
    let epoch = store.epoch().to_owned();
    assert_eq!(epoch.len(), made_with.len());
    assert_ne!(epoch, made_with);
    assert_eq!(store.since(0, 9).await.unwrap()[0].deployment, id);
    put(&store, id, 1, &[planned()]).await;
    store.close().await;
    let store = files.open().await;
    assert_eq!(store.epoch(), epoch);
    store.close().await;
}

/// Everything that was acknowledged before a copy of database and log was begun is in
/// the copy, as it would be on the disk of a machine that lost its power then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_taken_while_it_writes_is_whole() {
    let files = Files::new();
    let store = files.open().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for number in 0..8 {
        let (store, stop) = (store.clone(), Arc::clone(&stop));
        tasks.spawn(async move {
            let id = begin(&store, &format!("m{number}"), "production").await;
            let mut head = put(&store, id, 1, &[planned()]).await;
            while !stop.load(Ordering::Relaxed) {
                // Long, so that the log is begun again now and then.
                let bodies = [log(0, &"x".repeat(20_000)), log(1, "y")];
                head = put(&store, id, head.next_seq, &bodies).await;
            }
        });
    }
    while store.open().await.unwrap().len() < 8 {
        tokio::task::yield_now().await;
    }
    for round in 0..5 {
        let mut acknowledged: Vec<(DeploymentId, u64)> = Vec::new();
        for id in store.open().await.unwrap() {
            acknowledged.push((id, store.head(id).await.unwrap().next_seq));
        }
        let copy = files.folder.path().join(format!("copy-{round}"));
        std::fs::create_dir(&copy).unwrap();
        copy_at_once(&files.path(), &copy);
        let copied = Sqlite::open(copy.join("engine.db")).await.unwrap();
        for (id, next) in acknowledged {
            let events = copied.events(id, 0, usize::MAX).await.unwrap();
            let folded = Deployment::fold(&events).unwrap();
            assert!(folded.next_seq >= next, "{} of {next}", folded.next_seq);
            assert!(
                folded.next_seq <= 2 || folded.next_seq.is_multiple_of(2),
                "half an append"
            );
        }
        copied.close().await;
    }
    stop.store(true, Ordering::Relaxed);
    tasks.join_all().await;
    store.close().await;
}

/// The two files as they are at one moment. While a reader holds the log it is not begun
/// again, so that what is copied of it first stays true; and the database changes only by
/// pages that the log has, too. `cp` copies them in this order.
fn copy_at_once(database: &Path, folder: &Path) {
    let reader = Connection::open(database).unwrap();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM deployment")
        .unwrap();
    // By another process: a file that this one opens and closes loses the locks that
    // SQLite has on it in this one.
    let copied = std::process::Command::new("cp")
        .args([database, &database.with_extension("db-wal"), folder])
        .status();
    assert!(copied.unwrap().success());
}
