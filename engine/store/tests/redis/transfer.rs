//! Moving the whole state between stores.

use std::path::{Path, PathBuf};

use hotswap_core::{
    DeploymentId, Digest, Environment, EnvironmentEventBody, Event, Header, Idempotency, Policy,
};
use hotswap_store::transfer::{Archive, Contents, Error, Summary, export};
use hotswap_store::{
    Blobs, Catalogue, EnvironmentAppend, EnvironmentEntry, EnvironmentJournal, Journal, Query,
    Redis, RedisConfig, Sqlite, redis,
};
use tempfile::TempDir;

use crate::redis_server::{RedisKind, RedisServer};
use crate::suite::environments::{cordoned, drained, moved, policy_changed, repairing, retired};
use crate::suite::{
    append, append_at_end, at, catalogue, create, create_for, failure, header, log, must_append,
    partial_success, planned, success,
};

const BLOB_LIMIT: u64 = 16 << 20;

/// A store in a folder, with its artifacts.
struct Folder {
    store: Sqlite,
    blobs: Blobs,
    dir: TempDir,
}

impl Folder {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Sqlite::open(dir.path().join("engine.db")).await.unwrap();
        let blobs = Blobs::open_folder(dir.path().join("blobs"), BLOB_LIMIT);
        let blobs = blobs.await.unwrap();
        Self { store, blobs, dir }
    }

    /// Imports, and opens the store again.
    async fn import(archive: &Archive) -> Self {
        let Self { store, blobs, dir } = Self::open().await;
        let before = store.epoch();
        store.import(archive, &blobs).await.unwrap();
        store.close().await;
        let store = Sqlite::open(dir.path().join("engine.db")).await.unwrap();
        assert_ne!(store.epoch(), before);
        Self { store, blobs, dir }
    }
}

async fn open_redis(config: &RedisConfig, dir: &Path) -> (Redis, Blobs) {
    let store = Redis::open(config).await.unwrap();
    let blobs = Blobs::open_folder(dir.join("cache"), BLOB_LIMIT);
    let blobs = blobs.await.unwrap();
    let shared = std::sync::Arc::new(store.clone());
    (store, blobs.shared_in(shared))
}

async fn write(store: &impl Contents, blobs: &Blobs, path: &Path) -> Result<Summary, Error> {
    let file = std::fs::File::create(path).unwrap();
    export(store, blobs, file).await
}

async fn archive_of(store: &impl Contents, blobs: &Blobs, path: PathBuf) -> Archive {
    let summary = write(store, blobs, &path).await.unwrap();
    let archive = Archive::open(path).unwrap();
    assert_eq!(*archive.summary(), summary);
    archive
}

/// The archive of a store on a server, which is then closed.
async fn archive_of_redis(config: &RedisConfig, dir: &Path, name: &str) -> Archive {
    let (store, blobs) = open_redis(config, dir).await;
    let archive = archive_of(&store, &blobs, dir.join(name)).await;
    store.close().await;
    archive
}

fn production() -> Environment {
    "production".parse().unwrap()
}

async fn tell(store: &impl EnvironmentJournal, bodies: &[EnvironmentEventBody]) -> u64 {
    let append = EnvironmentAppend {
        environment: production(),
        fence: None,
        newest_cordon: None,
        at: at(7),
        bodies: bodies.to_vec(),
    };
    store.append_to_environment(append).await.unwrap()
}

/// Fills a store with something of every kind.
async fn fill(store: &(impl Journal + EnvironmentJournal + Catalogue), blobs: &Blobs) {
    for (name, version) in [
        ("hello", "1.0.0"),
        ("hello", "1.0.0+b"),
        ("a", "2.0.0-rc.1"),
    ] {
        let record = catalogue::module(name, version);
        store.put_module(record).await.unwrap();
    }
    for name in ["canary", "slow"] {
        let strategy = catalogue::strategy(name, "1");
        assert!(store.put_strategy(strategy, None).await.unwrap());
    }
    let backend = catalogue::backend("list", "1");
    store.put_backend(backend).await.unwrap();
    for (id, zone) in [("a", None), ("B.example", Some("one"))] {
        let node = catalogue::node(id, zone);
        store.put_node(node, None).await.unwrap();
    }
    for content in [&[][..], b"small", &vec![7; 700_000]] {
        let mut writer = blobs.writer().await.unwrap();
        writer.write(content).await.unwrap();
        writer.finish(None).await.unwrap();
    }
    // Ended in each way, deleted, retired, for a part, and open in each way.
    for bodies in [&success()[..], &partial_success(), &failure()] {
        let id = create(store, "hello", "production").await;
        append_at_end(store, id, bodies).await;
    }
    let retiring = create(store, "retired", "production").await;
    append_at_end(store, retiring, &success()).await;
    tell(store, &[retired("retired"), repairing("a")]).await;
    store.delete(retiring).await.unwrap();
    let part = create_for(store, "zone=a").await;
    append_at_end(store, part, &success()).await;
    let keyed = Header {
        idempotency: Some(Idempotency {
            key: "key-1".parse().unwrap(),
            request: Digest::of(b"request"),
        }),
        ..header("keyed", "qa")
    };
    store.create(keyed.clone(), at(2)).await.unwrap();
    let lease = store.acquire_lease(keyed.id).await.unwrap();
    let more = append(
        keyed.id,
        1,
        Some(lease.fence),
        &[planned(), log(0, "ä\n\0")],
    );
    store.append(more).await.unwrap();
    let open = create(store, "checkout", "production").await;
    must_append(store, open, 1, &[planned()]).await;
    let waiting = Header {
        supersedes: Some(open),
        ..header("checkout", "production")
    };
    store.create(waiting, at(3)).await.unwrap();
    let qa = "qa".parse().unwrap();
    store.acquire_environment_lease(&qa).await.unwrap();
    tell(store, &[cordoned("a"), drained("b"), moved("c")]).await;
    let policy = Some(Policy::default_for(&production()));
    tell(store, &[policy_changed(policy, None)]).await;
    // The last events are of a journal that is deleted.
    let last = create(store, "last", "qa").await;
    append_at_end(store, last, &failure()).await;
    store.delete(last).await.unwrap();
}

/// What readers of a store get.
#[derive(Debug, PartialEq)]
struct View {
    journals: Vec<(DeploymentId, Vec<Event>, hotswap_store::Head)>,
    open: Vec<DeploymentId>,
    running: Option<DeploymentId>,
    current: Vec<DeploymentId>,
    environment_events: Vec<String>,
    kept: [Vec<u64>; 3],
    decisions: String,
    past: String,
    request: Option<DeploymentId>,
    without_snapshot: Vec<DeploymentId>,
    positions: (u64, u64),
    modules: Vec<hotswap_store::ModuleRecord>,
    nodes: Vec<hotswap_store::NodeRecord>,
}

impl View {
    async fn of(store: &(impl Journal + EnvironmentJournal + Catalogue)) -> Self {
        let query = Query {
            limit: 100,
            ..Query::default()
        };
        let mut journals = Vec::new();
        for id in store.list(&query).await.unwrap().deployments {
            let events = store.events(id, 0, 1000).await.unwrap();
            journals.push((id, events, store.head(id).await.unwrap()));
        }
        let places = |entries: Vec<EnvironmentEntry>| {
            let places = entries.iter().map(|entry| entry.position);
            places.collect::<Vec<_>>()
        };
        let events = store.environment_events_after(None, 0, 100).await.unwrap();
        let (checkout, retired) = ("checkout".parse().unwrap(), "retired".parse().unwrap());
        let environment = production();
        let past = store.past_decisions(&retired, &environment, None, 10).await;
        let cordons = store.cordons().await.unwrap();
        Self {
            journals,
            open: store.open_deployments().await.unwrap(),
            running: store
                .open_deployment(&checkout, &environment)
                .await
                .unwrap(),
            current: store.current_deployments(None).await.unwrap(),
            environment_events: events.iter().map(|event| format!("{event:?}")).collect(),
            kept: [
                places(cordons.into_iter().map(|(_, entry)| entry).collect()),
                places(store.arrivals().await.unwrap()),
                places(store.policies().await.unwrap()),
            ],
            decisions: format!("{:?}", store.decisions(&environment).await.unwrap()),
            past: format!("{:?}", past.unwrap()),
            request: store
                .find_request("ada", &"key-1".parse().unwrap())
                .await
                .unwrap(),
            without_snapshot: store.ended_without_snapshot(1, None, 100).await.unwrap(),
            positions: (
                store.last_position().await.unwrap(),
                store.deleted_through().await.unwrap(),
            ),
            modules: store.modules(None).await.unwrap(),
            nodes: store.nodes().await.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_moves_from_a_file_to_a_server_and_back_is_the_same() {
    for kind in [RedisKind::Redis, RedisKind::Valkey] {
        let server = RedisServer::start(kind).unwrap();
        let config = RedisConfig::new(server.url());
        let first = Folder::open().await;
        fill(&first.store, &first.blobs).await;
        let expected = View::of(&first.store).await;
        assert!(expected.request.is_some() && expected.running.is_some());
        assert_eq!(expected.kept.each_ref().map(Vec::len), [2, 1, 1]);
        let dir = first.dir.path();
        let exported = archive_of(&first.store, &first.blobs, dir.join("1")).await;
        assert_eq!(exported.summary().artifacts, 3);

        // What `hotswap store check` leaves behind is no state.
        Redis::open(&config).await.unwrap().close().await;
        Redis::import(&config, &exported, None).await.unwrap();
        let (store, blobs) = open_redis(&config, dir).await;
        assert_eq!(View::of(&store).await, expected);
        assert_ne!(store.epoch(), first.store.epoch());
        let again = archive_of(&store, &blobs, dir.join("2")).await;
        assert_eq!(again.summary(), exported.summary());
        store.close().await;

        // To another place on the server, and back into a file.
        let other = RedisConfig {
            key_prefix: "other".to_owned(),
            ..config.clone()
        };
        Redis::import(&other, &again, None).await.unwrap();
        let third = archive_of_redis(&other, dir, "3").await;
        assert_eq!(third.summary(), exported.summary());
        let back = Folder::import(&third).await;
        assert_eq!(View::of(&back.store).await, expected);
        let fourth = archive_of(&back.store, &back.blobs, dir.join("4")).await;
        assert_eq!(fourth.summary(), exported.summary());
        assert_eq!(
            std::fs::read(dir.join("1")).unwrap(),
            std::fs::read(dir.join("4")).unwrap()
        );
        goes_on(&back.store, &expected).await;
        goes_on(&Redis::open(&config).await.unwrap(), &expected).await;
    }
}

/// Everything works as before: fences and positions go on, and what is waited for comes.
async fn goes_on(store: &(impl Journal + EnvironmentJournal), before: &View) {
    let [open, waiting] = [before.running.unwrap(), *before.open.last().unwrap()];
    let keyed = before.request.unwrap();
    let lease = store.acquire_lease(keyed).await.unwrap();
    assert!(lease.fence > lease.previous.unwrap());
    let next = append(keyed, 3, Some(lease.fence), &[log(1, "on")]);
    store.append(next).await.unwrap();
    assert!(store.last_position().await.unwrap() > before.positions.0);
    append_at_end(store, open, &failure()).await;
    let (checkout, environment) = ("checkout".parse().unwrap(), production());
    let running = store.open_deployment(&checkout, &environment).await;
    assert_eq!(running.unwrap(), Some(waiting));
    let again = create(store, "retired", "production").await;
    append_at_end(store, again, &success()).await;
    let current = store.current_deployments(Some(&environment)).await.unwrap();
    assert!(current.contains(&again), "it counts as retired");
    let events = store.events_after(before.positions.0, 100).await.unwrap();
    assert_eq!(events.len(), 1 + 2 + 1 + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_archive_is_refused_before_anything_is_written() {
    let folder = Folder::open().await;
    fill(&folder.store, &folder.blobs).await;
    let path = folder.dir.path().join("archive");
    archive_of(&folder.store, &folder.blobs, path.clone()).await;
    let whole = std::fs::read(&path).unwrap();
    let damaged = folder.dir.path().join("damaged");
    let open = |bytes: &[u8]| {
        std::fs::write(&damaged, bytes).unwrap();
        Archive::open(&damaged).unwrap_err()
    };
    for part in 0..64 {
        let length = whole.len() * part / 64;
        let error = open(&whole[..length]);
        let is_told = matches!(error, Error::Truncated | Error::Foreign);
        assert!(is_told, "cut at {length}: {error:?}");
        let mut changed = whole.clone();
        changed[length] ^= 1;
        open(&changed);
    }
    open(&[&whole[..], b"more"].concat());
    let newer = String::from_utf8_lossy(&whole[..100]).replacen("\"format\":1", "\"format\":2", 1);
    assert!(matches!(
        open(newer.as_bytes()),
        Error::Format { found: 2, .. }
    ));
    assert!(matches!(open(b"{\"some\":\"json\"}\n"), Error::Foreign));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_used_or_not_empty_is_refused() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let config = RedisConfig {
        engine: "one".to_owned(),
        ..RedisConfig::new(server.url())
    };
    let folder = Folder::open().await;
    let empty = archive_of(&folder.store, &folder.blobs, folder.dir.path().join("e")).await;
    fill(&folder.store, &folder.blobs).await;
    let path = folder.dir.path().join("archive");
    let archive = archive_of(&folder.store, &folder.blobs, path.clone()).await;
    let refused = folder.store.import(&archive, &folder.blobs).await;
    assert!(matches!(refused, Err(Error::NotEmpty)), "{refused:?}");

    let living = Redis::open(&config).await.unwrap();
    let refused = Redis::import(&config, &archive, None).await;
    assert!(
        matches!(&refused, Err(Error::InUse(by)) if by == &["one"]),
        "{refused:?}"
    );
    let (other, blobs) = open_redis(&config, folder.dir.path()).await;
    let refused = write(&other, &blobs, &path).await.unwrap_err();
    assert!(
        matches!(&refused, Error::InUse(by) if by == &["one"]),
        "{refused:?}"
    );
    other.close().await;
    create(&living, "hello", "production").await;
    living.close().await;
    let refused = Redis::import(&config, &archive, None).await;
    assert!(matches!(refused, Err(Error::NotEmpty)), "{refused:?}");

    // One that begins and ends meanwhile is noticed too.
    let (store, blobs) = open_redis(&config, folder.dir.path()).await;
    let before = store.standstill().await.unwrap();
    Redis::open(&config).await.unwrap().close().await;
    assert_ne!(store.standstill().await.unwrap(), before);
    drop((store, blobs, empty));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_cut_off_leaves_nothing_that_an_engine_opens() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let config = RedisConfig::new(server.url());
    let folder = Folder::open().await;
    fill(&folder.store, &folder.blobs).await;
    let path = folder.dir.path().join("archive");
    let archive = archive_of(&folder.store, &folder.blobs, path).await;
    let (mut cut, mut complete) = (0, 0);
    for round in 0.. {
        let import = Redis::import(&config, &archive, None);
        let span = std::time::Duration::from_micros(500 * round);
        let ended = tokio::time::timeout(span, import).await;
        match Redis::open(&config).await {
            Err(redis::Error::Importing) => {
                assert!(ended.is_err());
                cut += 1;
            }
            Err(error) => panic!("{error}"),
            Ok(store) => {
                let is_empty = store.last_position().await.unwrap() == 0;
                store.close().await;
                if is_empty {
                    // It had not begun.
                    assert!(ended.is_err() && cut == 0);
                    continue;
                }
                complete += 1;
                break;
            }
        }
    }
    assert!(cut > 0 && complete == 1, "{cut} were cut off");
    let again = archive_of_redis(&config, folder.dir.path(), "again").await;
    assert_eq!(again.summary(), archive.summary());
}
