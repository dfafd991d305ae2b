//! Several engines on one server.

use std::time::Duration;

use hotswap_core::{Clock as _, Digest, Fence, SystemClock};
use hotswap_store::transfer::Contents as _;
use hotswap_store::{
    AppendToEnvironmentError, Blobs, Catalogue, EnvironmentAppend, EnvironmentJournal, Journal,
    LeaseError, Redis, RedisConfig, Session, UndrivenDeployment,
};
use tokio::time::{Instant, sleep};

use crate::access::wait_until;
use crate::redis_proxy::RedisProxy;
use crate::redis_server::{RedisKind, RedisServer};
use crate::suite::environments::policy_changed;
use crate::suite::{append, append_at_end, create, failure, must_append, notified, planned};

const KINDS: [RedisKind; 2] = [RedisKind::Redis, RedisKind::Valkey];

fn config(server: &RedisServer, engine: &str) -> RedisConfig {
    RedisConfig {
        engine: engine.to_owned(),
        lease_ttl: Duration::from_secs(1),
        ..RedisConfig::new(server.url())
    }
}

async fn open(server: &RedisServer, engine: &str) -> Redis {
    Redis::open(&config(server, engine)).await.unwrap()
}

/// With a session that outlives a stall of a busy machine.
async fn open_for_long(server: &RedisServer, engine: &str) -> Redis {
    let config = RedisConfig {
        lease_ttl: Duration::from_secs(30),
        ..config(server, engine)
    };
    Redis::open(&config).await.unwrap()
}

async fn undriven(store: &Redis) -> Vec<UndrivenDeployment> {
    let session = store.session().unwrap();
    session.undriven_deployments().await.unwrap()
}

/// Opens a store as another process would that is then killed: nothing is closed.
fn open_and_die(server: &RedisServer, work: impl AsyncFnOnce(&Redis)) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = open(server, "killed").await;
        work(&store).await;
        std::mem::forget(store);
    });
    runtime.shutdown_background();
}

#[tokio::test]
async fn a_change_of_an_environment_is_known_for_longer_than_it_is_sent_again() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let config = RedisConfig {
        // The longest.
        patience: Duration::from_secs(600),
        ..config(&server, "one")
    };
    config.check().unwrap();
    let store = Redis::open(&config).await.unwrap();
    let change = EnvironmentAppend {
        environment: "production".parse().unwrap(),
        fence: None,
        newest_cordon: None,
        at: SystemClock.now(),
        bodies: vec![policy_changed(None, None)],
    };
    store.append_to_environment(change).await.unwrap();
    let keys = server.command(&["KEYS", "{hotswap}:token:*"]).unwrap();
    let key = keys.lines().last().unwrap();
    let left = server.command(&["TTL", key]).unwrap();
    let left: u64 = left.trim().trim_start_matches(':').parse().unwrap();
    assert!(left > config.patience.as_secs() + 60, "{left} s");
    store.close().await;
}

#[tokio::test]
async fn a_lease_is_held_while_its_engine_lives_and_free_at_once_when_that_leaves() {
    for kind in KINDS {
        let server = RedisServer::start(kind).unwrap();
        let (one, other) = (open(&server, "one").await, open(&server, "other").await);
        let id = create(&one, "checkout", "production").await;
        let environment = "production".parse().unwrap();
        let expected = UndrivenDeployment {
            deployment: id,
            environment,
        };
        assert_eq!(undriven(&other).await, std::slice::from_ref(&expected));
        let first = one.acquire_lease(id).await.unwrap();
        let environment = &expected.environment;
        one.acquire_environment_lease(environment).await.unwrap();
        // Longer than a session lasts that is not renewed.
        sleep(Duration::from_millis(1500)).await;
        assert_eq!(undriven(&other).await, []);
        let held = other.acquire_lease(id).await.unwrap_err();
        assert!(
            matches!(&held, LeaseError::Held(by) if by == "one"),
            "{held:?}"
        );
        let held = other.acquire_environment_lease(environment).await;
        assert!(matches!(held, Err(LeaseError::Held(_))), "{held:?}");
        // Its own lease it acquires anew, with a higher fence.
        let second = one.acquire_lease(id).await.unwrap();
        assert!(second.fence > first.fence);
        let engines = other.session().unwrap().engines().await.unwrap();
        let mut driven: Vec<_> = engines
            .iter()
            .map(|engine| (engine.name.as_str(), engine.deployments))
            .collect();
        driven.sort_unstable();
        assert_eq!(driven, [("one", 1), ("other", 0)]);

        one.session().unwrap().end().await.unwrap();
        assert_eq!(undriven(&other).await, std::slice::from_ref(&expected));
        let third = other.acquire_lease(id).await.unwrap();
        assert!(third.fence > second.fence);
        other.acquire_environment_lease(environment).await.unwrap();
        let late = one.append(append(id, 1, Some(second.fence), &[planned()]));
        let late = late.await.unwrap_err();
        assert!(
            matches!(late, hotswap_store::AppendError::Fenced(_)),
            "{late:?}"
        );
        let refused = one.acquire_lease(id).await;
        assert!(matches!(refused, Err(LeaseError::Held(_))), "{refused:?}");
        one.close().await;
        other.close().await;
    }
}

#[tokio::test]
async fn a_lease_that_no_driver_uses_can_be_given_back() {
    for kind in KINDS {
        let server = RedisServer::start(kind).unwrap();
        let (one, other) = (open(&server, "one").await, open(&server, "other").await);
        let session = one.session().unwrap();
        let (used, idle) = (
            create(&one, "checkout", "production").await,
            create(&one, "search", "production").await,
        );
        let fence = one.acquire_lease(used).await.unwrap().fence;
        one.acquire_lease(idle).await.unwrap();
        assert_eq!(session.own_leases(2).await.unwrap(), []);
        assert_eq!(session.own_leases(1).await.unwrap().len(), 2);
        assert_eq!(undriven(&other).await, []);
        session.release(idle).await.unwrap();
        assert_eq!(session.own_leases(0).await.unwrap(), [used]);
        let free: Vec<_> = undriven(&other).await;
        assert_eq!(free.len(), 1);
        assert_eq!(free[0].deployment, idle);
        other.acquire_lease(idle).await.unwrap();
        // What is another engine's stays with it.
        session.release(idle).await.unwrap();
        assert_eq!(undriven(&other).await, []);
        one.append(append(used, 1, Some(fence), &[planned()]))
            .await
            .unwrap();
        one.close().await;
        other.close().await;
    }
}

#[tokio::test]
async fn an_environment_in_which_an_engine_drives_nothing_passes_to_any_other() {
    for kind in KINDS {
        let server = RedisServer::start(kind).unwrap();
        let (one, other) = (
            open_for_long(&server, "one").await,
            open_for_long(&server, "other").await,
        );
        let [unreadable, more] = ["unreadable", "more"].map(|name| name.parse().unwrap());
        let fence = one.acquire_environment_lease(&unreadable).await.unwrap();
        other.acquire_environment_lease(&more).await.unwrap();
        let id = create(&one, "checkout", "unreadable").await;
        one.acquire_lease(id).await.unwrap();
        let session = one.session().unwrap();
        let pass_on = async |session: &dyn Session, fence| {
            session
                .pass_on_environment(&unreadable, fence)
                .await
                .unwrap()
        };
        assert!(!pass_on(&*session, fence).await, "it drives there");
        session.release(id).await.unwrap();
        assert!(pass_on(&*session, fence).await);
        // As where the answer was lost, and as where it was lost before.
        assert!(pass_on(&*session, fence).await);

        // The other engine works in more environments, and takes it all the same.
        let taken = other.acquire_environment_lease(&unreadable).await.unwrap();
        assert!(taken.0 > fence.0 + 1, "the fence was not raised");
        let others = other.session().unwrap();
        assert!(pass_on(&*session, taken).await, "it is not this engine's");
        let left = one.acquire_environment_lease(&unreadable).await;
        assert!(matches!(left, Err(LeaseError::Held(_))), "{left:?}");
        assert_eq!(undriven(&one).await.len(), 1);
        other.acquire_lease(id).await.unwrap();
        assert!(!pass_on(&*others, taken).await);
        append_at_end(&other, id, &failure()).await;
        one.close().await;
        other.close().await;
    }
}

#[tokio::test]
async fn a_command_that_observes_changes_nothing_of_what_engines_share() {
    for kind in KINDS {
        let server = RedisServer::start(kind).unwrap();
        let one = open_for_long(&server, "one").await;
        let session = one.session().unwrap();
        let mut leases = Vec::new();
        for name in ["first", "second"] {
            let environment = name.parse().unwrap();
            let fence = one.acquire_environment_lease(&environment).await.unwrap();
            leases.push((environment, fence));
        }
        let config = RedisConfig {
            is_observer: true,
            lease_ttl: Duration::from_secs(30),
            ..config(&server, "check")
        };
        let check = Redis::open(&config).await.unwrap();
        assert_eq!(session.give_back_environment(&leases).await.unwrap(), None);
        let third = "third".parse().unwrap();
        one.acquire_environment_lease(&third).await.unwrap();
        for store in [&one, &check] {
            let engines = store.session().unwrap().engines().await.unwrap();
            let engines: Vec<_> = engines.iter().map(|engine| &*engine.name).collect();
            assert_eq!(engines, ["one"]);
        }
        // It uses the store all the same.
        let refused = one.standstill().await;
        assert!(refused.is_err_and(|error| error.to_string().contains("in use by check")));
        check.close().await;
        one.standstill().await.unwrap();
        let marks = server.command(&["KEYS", "*observers"]).unwrap();
        assert_eq!(marks, "*0\r\n");
        one.close().await;
    }
}

#[tokio::test]
async fn a_free_environment_is_left_to_the_engine_that_works_in_the_fewest_for_a_second() {
    for kind in KINDS {
        let server = RedisServer::start(kind).unwrap();
        let (one, other) = (
            open_for_long(&server, "one").await,
            open_for_long(&server, "other").await,
        );
        let [first, second, third] = ["first", "second", "third"].map(|name| name.parse().unwrap());
        // Both work in none.
        one.acquire_environment_lease(&first).await.unwrap();
        let left = one.acquire_environment_lease(&second).await;
        assert!(
            matches!(&left, Err(LeaseError::Held(to)) if to == "other"),
            "{left:?}"
        );
        other.acquire_environment_lease(&second).await.unwrap();
        // Both work in one. Its own it acquires anew whatever others have.
        one.acquire_environment_lease(&third).await.unwrap();
        one.acquire_environment_lease(&third).await.unwrap();

        // The other one lives, and takes nothing.
        let fourth = "fourth".parse().unwrap();
        let began = Instant::now();
        let mut refusals = 0;
        while let Err(error) = one.acquire_environment_lease(&fourth).await {
            assert!(matches!(error, LeaseError::Held(_)), "{error:?}");
            assert!(began.elapsed() < Duration::from_secs(30));
            refusals += 1;
            sleep(Duration::from_millis(20)).await;
        }
        assert!(refusals > 0);
        assert!(began.elapsed() >= Duration::from_millis(900));

        // One that is gone has none.
        other.session().unwrap().end().await.unwrap();
        one.acquire_environment_lease(&second).await.unwrap();
        one.close().await;
        other.close().await;
    }
}

#[tokio::test]
async fn an_engine_gives_back_what_is_more_than_its_share_and_has_nothing_open() {
    for kind in KINDS {
        let server = RedisServer::start(kind).unwrap();
        let one = open_for_long(&server, "one").await;
        let session = one.session().unwrap();
        let mut leases = Vec::new();
        for name in ["busy", "idle", "later"] {
            let environment = name.parse().unwrap();
            let fence = one.acquire_environment_lease(&environment).await.unwrap();
            leases.push((environment, fence));
        }
        let id = create(&one, "checkout", "busy").await;
        // It alone has all of them.
        assert_eq!(session.give_back_environment(&leases).await.unwrap(), None);
        let other = open_for_long(&server, "other").await;
        let given = session.give_back_environment(&leases).await.unwrap();
        let (idle, fence) = leases.remove(1);
        assert_eq!(given.as_ref(), Some(&idle));
        let late = one.append_to_environment(EnvironmentAppend {
            environment: idle.clone(),
            fence: Some(fence),
            newest_cordon: None,
            at: SystemClock.now(),
            bodies: Vec::new(),
        });
        let late = late.await;
        assert!(
            matches!(late, Err(AppendToEnvironmentError::Fenced(_))),
            "{late:?}"
        );
        // As where the answer was lost.
        let again = [(idle.clone(), fence), leases[1].clone()];
        let given = session.give_back_environment(&again).await.unwrap();
        assert_eq!(given.as_ref(), Some(&idle));
        // Two of two engines: one more than its share, as long as nobody has the other one.
        let left = one.acquire_environment_lease(&idle).await;
        assert!(matches!(left, Err(LeaseError::Held(_))), "{left:?}");
        other.acquire_environment_lease(&idle).await.unwrap();
        assert_eq!(session.give_back_environment(&leases).await.unwrap(), None);

        // What has an open deployment stays, however many they are.
        let third = open_for_long(&server, "third").await;
        let (later, _) = leases.pop().unwrap();
        let given = [(
            later.clone(),
            one.acquire_environment_lease(&later).await.unwrap(),
        )];
        assert_eq!(session.give_back_environment(&leases).await.unwrap(), None);
        assert_eq!(
            session.give_back_environment(&given).await.unwrap(),
            Some(later)
        );
        append_at_end(&one, id, &failure()).await;
        for store in [&one, &other, &third] {
            store.close().await;
        }
    }
}

#[test]
fn what_a_killed_engine_drove_is_free_once_its_session_is_over() {
    for kind in KINDS {
        let server = RedisServer::start(kind).unwrap();
        let mut ids = Vec::new();
        open_and_die(&server, async |store| {
            for module in ["a", "b", "c"] {
                let id = create(store, module, "production").await;
                store.acquire_lease(id).await.unwrap();
                ids.push(id);
            }
            append_at_end(store, ids[1], &failure()).await;
        });
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let store = open(&server, "other").await;
            let began = Instant::now();
            let free = loop {
                let found = undriven(&store).await;
                if !found.is_empty() {
                    break found;
                }
                sleep(Duration::from_millis(20)).await;
            };
            assert!(
                began.elapsed() < Duration::from_secs(3),
                "{:?}",
                began.elapsed()
            );
            let free: Vec<_> = free.iter().map(|one| one.deployment).collect();
            assert_eq!(free, [ids[0], ids[2]]);
            for id in free {
                store.acquire_lease(id).await.unwrap();
            }
            assert_eq!(undriven(&store).await, []);
            store.close().await;
        });
    }
}

#[test]
fn a_dead_engine_does_not_live_longer_because_the_clock_of_the_server_was_set_back() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let mut ids = Vec::new();
    open_and_die(&server, async |store| {
        let id = create(store, "checkout", "production").await;
        store.acquire_lease(id).await.unwrap();
        let environment = "production".parse().unwrap();
        store.acquire_environment_lease(&environment).await.unwrap();
        ids.push(id);
    });
    // As if it was renewed when the clock showed an hour more.
    let script = "local key = '{hotswap}:sessions'
        for _, session in ipairs(redis.call('ZRANGE', key, 0, -1)) do
            redis.call('ZADD', key, redis.call('TIME')[1] * 1000 + 3600000, session)
        end
        return redis.call('ZCARD', key)";
    let changed = server.command(&["EVAL", script, "0"]).unwrap();
    assert_eq!(changed, ":1\r\n");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = open(&server, "other").await;
        let engines = store.session().unwrap().engines().await.unwrap();
        let engines: Vec<_> = engines.iter().map(|engine| &*engine.name).collect();
        assert_eq!(engines, ["other"]);
        let environment = "production".parse().unwrap();
        store.acquire_environment_lease(&environment).await.unwrap();
        assert_eq!(undriven(&store).await[0].deployment, ids[0]);
        store.acquire_lease(ids[0]).await.unwrap();
        store.close().await;
    });
}

#[tokio::test]
async fn a_connection_that_is_dead_without_a_word_costs_no_lease() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let proxy = RedisProxy::start(server.port()).await.unwrap();
    let config = RedisConfig {
        lease_ttl: Duration::from_secs(12),
        patience: Duration::from_secs(30),
        ..RedisConfig::new(proxy.url())
    };
    let store = Redis::open(&config).await.unwrap();
    let session = store.session().unwrap();
    let lapses = session.lapses();
    let renewed_after = async |moment: std::time::Instant| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while session.server_time().1 <= moment {
            assert!(Instant::now() < deadline);
            sleep(Duration::from_millis(20)).await;
        }
    };
    // The connection for renewals is there from the first one on.
    renewed_after(Instant::now().into_std()).await;
    proxy.silence();
    renewed_after(Instant::now().into_std()).await;
    assert!(!lapses.has_changed().unwrap(), "its session has expired");
    // Its other connections take their time.
    drop(store);
}

#[tokio::test]
async fn an_engine_that_was_cut_off_for_too_long_has_no_lease_any_more() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let store = open(&server, "one").await;
    let id = create(&store, "checkout", "production").await;
    let lease = store.acquire_lease(id).await.unwrap();
    let mut lapses = store.session().unwrap().lapses();
    server.pause().unwrap();
    lapses.changed().await.unwrap();
    server.resume().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while undriven(&store).await.is_empty() {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(20)).await;
    }
    let again = loop {
        match store.acquire_lease(id).await {
            Ok(lease) => break lease,
            Err(LeaseError::Store(_)) => sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("{error:?}"),
        }
    };
    assert!(again.fence > lease.fence);
    store.close().await;
}

#[tokio::test]
async fn subscribers_are_notified_of_what_other_engines_append() {
    for kind in KINDS {
        let server = RedisServer::start(kind).unwrap();
        let (one, other) = (open(&server, "one").await, open(&server, "other").await);
        let mut appended = other.subscribe();
        let id = create(&one, "checkout", "production").await;
        let fence = one.acquire_lease(id).await.unwrap().fence;
        let head = one.append(append(id, 1, Some(fence), &[planned()])).await;
        let head = head.unwrap();
        let created = notified(&mut appended, 0).await;
        assert_eq!((created.deployment, created.position), (id, 1));
        let second = notified(&mut appended, 1).await;
        assert_eq!(
            (second.head, second.fenced, second.position),
            (head, true, 2)
        );
        assert_eq!(other.events_after(0, 9).await.unwrap().len(), 2);
        // A person who asks this engine need not know where the journal ends.
        must_append(&other, id, 2, &[hotswap_core::EventBody::Settling(None)]).await;
        assert_eq!(one.head(id).await.unwrap().next_seq, 3);
        one.close().await;
        other.close().await;
    }
}

#[tokio::test]
async fn every_engine_learns_of_a_new_epoch() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let (one, other) = (open(&server, "one").await, open(&server, "other").await);
    assert_eq!(one.epoch(), other.epoch());
    let before = one.epoch();
    create(&one, "checkout", "production").await;
    assert!(one.raise_fence(Fence(1 << 52)).await.unwrap());
    assert_ne!(one.epoch(), before);
    assert!(!other.raise_fence(Fence(7)).await.unwrap());
    let mut appended = other.subscribe();
    let id = create(&one, "search", "production").await;
    while appended.recv().await.unwrap().deployment != id {}
    assert_eq!(other.epoch(), one.epoch());
    let fence = other.acquire_lease(id).await.unwrap().fence;
    // One fence voids the leases from before.
    assert_eq!(fence, Fence((1 << 52) + 2), "large numbers are exact");
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn installations_with_different_prefixes_share_a_server_and_nothing_else() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let with = |prefix: &str| RedisConfig {
        key_prefix: prefix.to_owned(),
        ..config(&server, "one")
    };
    let one = Redis::open(&with("one")).await.unwrap();
    let other = Redis::open(&with("other")).await.unwrap();
    create(&one, "checkout", "production").await;
    create(&other, "checkout", "production").await;
    for store in [&one, &other] {
        assert_eq!(store.open_deployments().await.unwrap().len(), 1);
        assert_eq!(store.last_position().await.unwrap(), 1);
    }
    assert_ne!(one.epoch(), other.epoch());
    let keys = server.command(&["KEYS", "*"]).unwrap();
    let foreign = keys.lines().filter(|line| {
        !line.starts_with(['*', '$'])
            && !line.starts_with("{one}:")
            && !line.starts_with("{other}:")
    });
    assert_eq!(foreign.collect::<Vec<_>>(), Vec::<&str>::new());
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn artifacts_are_shared_and_cached() {
    let server = RedisServer::start(RedisKind::Valkey).unwrap();
    let (one, other) = (open(&server, "one").await, open(&server, "other").await);
    let (folder, other_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let blobs = |folder: &tempfile::TempDir, store: &Redis| {
        let (path, store) = (folder.path().to_owned(), std::sync::Arc::new(store.clone()));
        async move {
            let blobs = Blobs::open_folder(path, 64 << 20).await.unwrap();
            blobs.shared_in(store)
        }
    };
    let here = blobs(&folder, &one).await;
    let there = blobs(&other_folder, &other).await;
    for size in [0, 1, 256 << 10, (1 << 20) + 7] {
        let content: Vec<u8> = (0..size).map(|byte| byte as u8).collect();
        let digest = Digest::of(&content);
        assert_eq!(there.read(digest).await.unwrap(), None);
        let mut writer = here.writer().await.unwrap();
        for part in content.chunks(70_000) {
            writer.write(part).await.unwrap();
        }
        assert_eq!(writer.finish(Some(digest)).await.unwrap(), digest);
        assert_eq!(there.open(digest).await.unwrap().unwrap().size, size);
        let cached = other_folder.path().join(digest.hex());
        assert_eq!(std::fs::read(&cached).unwrap(), content);
        // A copy that the disk has corrupted is fetched again.
        std::fs::write(&cached, b"something else").unwrap();
        assert_eq!(
            there.read(digest).await.unwrap().as_deref(),
            Some(&content[..])
        );
        let listed = there.list().await.unwrap();
        assert!(
            listed
                .iter()
                .any(|blob| blob.digest == digest && blob.size == size)
        );
        assert!(there.remove(digest).await.unwrap());
        assert!(!there.remove(digest).await.unwrap());
        assert!(there.list().await.unwrap().is_empty());
    }
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn an_artifact_that_another_engine_uploads_again_is_not_removed_as_unused() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let (one, other) = (open(&server, "one").await, open(&server, "other").await);
    let (folder, other_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let blobs = async |folder: &tempfile::TempDir, store: &Redis| {
        let blobs = Blobs::open_folder(folder.path(), 64 << 20).await.unwrap();
        blobs.shared_in(std::sync::Arc::new(store.clone()))
    };
    let here = blobs(&folder, &one).await;
    let there = blobs(&other_folder, &other).await;
    let content = b"an artifact";
    let digest = Digest::of(content);
    let upload = async |blobs: &Blobs| {
        let mut writer = blobs.writer().await.unwrap();
        writer.write(content).await.unwrap();
        writer.finish(Some(digest)).await.unwrap();
    };
    let age = |millis: u64| {
        let date = SystemClock.now().millis() - millis;
        let (field, value) = (digest.to_string(), format!("{} {date}", content.len()));
        let set = ["HSET", "{hotswap}:blobs", &field, &value];
        server.command(&set).unwrap();
    };
    upload(&here).await;
    age(3_600_000);
    // One engine has found it unused a second ago, and the other uploads it then.
    upload(&there).await;
    let found_unused = Duration::from_secs(1);
    assert!(!here.remove_unused(digest, found_unused).await.unwrap());
    assert!(there.list().await.unwrap().len() == 1);
    assert!(here.open(digest).await.unwrap().is_some());
    assert!(!there.share_again(digest).await.unwrap());
    // It has removed it just before the other one records it.
    age(3_600_000);
    assert!(here.remove_unused(digest, found_unused).await.unwrap());
    assert!(there.share_again(digest).await.unwrap());
    assert_eq!(
        here.read(digest).await.unwrap().as_deref(),
        Some(&content[..])
    );
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn what_nodes_report_is_passed_on_to_the_other_engines() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let (one, other) = (open(&server, "one").await, open(&server, "other").await);
    let (here, there) = (one.node_reports().unwrap(), other.node_reports().unwrap());
    let (mut own, mut received) = (here.subscribe(), there.subscribe());
    let arrived = async {
        loop {
            // Nothing is kept for an engine that does not listen yet.
            here.publish(b"hello").await.unwrap();
            tokio::select! {
                message = received.recv() => break message.unwrap(),
                () = sleep(Duration::from_millis(20)) => {}
            }
        }
    };
    let arrived = tokio::time::timeout(Duration::from_secs(30), arrived).await;
    assert_eq!(&arrived.unwrap()[..], b"hello");
    assert!(own.try_recv().is_err(), "its own message came back");
    // Each subject has its own channel.
    let mut of_soaks = other.soak_progress().unwrap().subscribe();
    let soaks = one.soak_progress().unwrap();
    soaks.publish(b"of soaks").await.unwrap();
    let arrived = tokio::time::timeout(Duration::from_secs(30), of_soaks.recv()).await;
    assert_eq!(&arrived.unwrap().unwrap()[..], b"of soaks");
    let mut of_metrics = other.metric_samples().unwrap().subscribe();
    let metrics = one.metric_samples().unwrap();
    metrics.publish(b"of metrics").await.unwrap();
    let arrived = tokio::time::timeout(Duration::from_secs(30), of_metrics.recv()).await;
    assert_eq!(&arrived.unwrap().unwrap()[..], b"of metrics");
    while let Ok(message) = received.try_recv() {
        assert_eq!(&message[..], b"hello");
    }
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn engines_with_different_settings_name_them() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    let open = async |engine: &str, settings: Option<&[(&str, &str)]>| {
        let owned = |(name, value): &(&str, &str)| (String::from(*name), String::from(*value));
        let config = RedisConfig {
            engine: engine.to_owned(),
            settings: settings.map(|settings| settings.iter().map(owned).collect()),
            lease_ttl: Duration::from_secs(1),
            ..RedisConfig::new(server.url())
        };
        Redis::open(&config).await.unwrap()
    };
    let contradictions = |store: &Redis| store.session().unwrap().contradictions();
    let one = open("one", Some(&[("calls", "7"), ("selector", "zone=a")])).await;
    let same = open("same", Some(&[("calls", "7"), ("selector", "zone=a")])).await;
    // As a program that only looks.
    let silent = open("silent", None).await;
    for store in [&one, &same, &silent] {
        assert_eq!(contradictions(store), Vec::<String>::new());
    }
    let other = open("other", Some(&[("calls", "8")])).await;
    let expected = [
        "calls is '8' on this engine and '7' on one",
        "calls is '8' on this engine and '7' on same",
        "selector is not set on this engine and 'zone=a' on one",
        "selector is not set on this engine and 'zone=a' on same",
    ];
    wait_until(|| contradictions(&other) == expected).await;
    let session = one.session().unwrap();
    let expected = [
        "calls is '7' on this engine and '8' on other",
        "selector is 'zone=a' on this engine and not set on other",
    ];
    wait_until(|| session.contradictions() == expected).await;
    other.close().await;
    wait_until(|| session.contradictions().is_empty()).await;
    for store in [one, same, silent] {
        store.close().await;
    }
}
