//! How engines identify themselves to a server, and the server to them.

use std::path::Path;
use std::time::Duration;

use hotswap_common::Secret;
use hotswap_core::DeploymentId;
use hotswap_store::redis::{Error, RequiredDurability, Tls};
use hotswap_store::{Catalogue as _, Journal, Redis, RedisConfig};
use tokio::time::{Instant, sleep, timeout};

use crate::durability::waits;
use crate::redis_server::{RedisKind, RedisServer, free_port};
use crate::server_certificates::{tls_arguments, write_certificates};
use crate::suite::{append, create, log, must_append, planned};

/// What a user needs, as the guide on scaling has it.
const RULES: [&str; 17] = [
    "~{hotswap}:*",
    "&{hotswap}:*",
    "+@read",
    "+@write",
    "+@pubsub",
    "+eval",
    "+evalsha",
    "+time",
    "+info",
    "+config|get",
    "+wait",
    "+hello",
    "+client",
    "+select",
    "+ping",
    "-flushall",
    "-flushdb",
];

/// A server with a user of these rights, and how the user gets there.
fn start_with_user(kind: RedisKind, rules: &[&str]) -> (RedisServer, RedisConfig) {
    let server = RedisServer::start_with(kind, &RedisServer::EVERY_SECOND).unwrap();
    let user = ["ACL", "SETUSER", "hotswap", "on", ">swordfish"];
    let answer = server.command(&[&user[..], rules].concat()).unwrap();
    assert!(answer.starts_with("+OK"), "{answer}");
    let config = RedisConfig {
        username: Some("hotswap".to_owned()),
        password: Some(Secret::new("swordfish")),
        ..RedisConfig::new(server.url())
    };
    (server, config)
}

#[tokio::test]
async fn a_user_with_the_documented_permissions_is_enough() {
    for kind in [RedisKind::Redis, RedisKind::Valkey] {
        let has_waitaof = kind == RedisKind::Valkey;
        let waitaof = if has_waitaof { &["+waitaof"][..] } else { &[] };
        let (server, config) = start_with_user(kind, &[&RULES[..], waitaof].concat());
        for url in [server.url(), format!("{}/3", server.url())] {
            let config = RedisConfig {
                url,
                wait_for_disk: has_waitaof,
                ..config.clone()
            };
            let before = waits(&server);
            let store = Redis::open(&config).await.unwrap();
            let id = create(&store, "checkout", "production").await;
            let lease = store.acquire_lease(id).await.unwrap();
            assert_eq!(lease.head.next_seq, 1);
            assert_eq!(store.events_after(0, 9).await.unwrap().len(), 1);
            assert_eq!(waits(&server) > before, has_waitaof);
            store.close().await;
        }

        let wrong = RedisConfig {
            password: Some(Secret::new("mackerel")),
            ..config
        };
        let error = Redis::open(&wrong).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(matches!(error, Error::Refused { .. }), "{text}");
        assert!(
            text.contains("password is wrong") && !text.contains("mackerel"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_user_that_may_not_wait_is_told_the_missing_right() {
    let (_server, config) = start_with_user(RedisKind::Valkey, &RULES);
    let config = RedisConfig {
        wait_for_disk: true,
        ..config
    };
    let error = Redis::open(&config).await.unwrap_err();
    assert!(matches!(error, Error::NoWait { .. }), "{error:?}");
    assert!(!error.is_passing());
    assert!(error.to_string().contains("the rule +waitaof"), "{error}");
}

#[tokio::test]
async fn a_user_that_may_not_read_the_configuration_is_refused_unless_that_is_wanted() {
    for kind in [RedisKind::Redis, RedisKind::Valkey] {
        let (server, config) = start_with_user(kind, &["~*", "&*", "+@all", "-config"]);
        let error = Redis::open(&config).await.unwrap_err().to_string();
        assert!(error.contains("CONFIG GET"), "{error}");
        let config = RedisConfig {
            durability: RequiredDurability::Anything,
            wait_for_disk: kind == RedisKind::Valkey,
            ..config
        };
        let store = Redis::open(&config).await.unwrap();
        assert!(!store.durability().is_known);
        // The disk is waited for all the same.
        let before = waits(&server);
        let id = create(&store, "checkout", "production").await;
        must_append(&store, id, 1, &[planned()]).await;
        assert_eq!(waits(&server) >= before + 2, config.wait_for_disk);
        let crash = store.durability().losses(&config)[3].what;
        let expected = if config.wait_for_disk {
            "nothing"
        } else {
            "unknown"
        };
        assert_eq!(crash, expected);
        store.close().await;
    }
}

#[tokio::test]
async fn a_user_without_the_channels_is_refused_and_the_missing_rules_are_named() {
    for (rules, command) in [
        (&["&other:*", "+@all"][..], "SUBSCRIBE"),
        (&["&{hotswap}:*", "+@all", "-subscribe"], "SUBSCRIBE"),
        (&["&{hotswap}:*", "+@all", "-publish"], "PUBLISH"),
    ] {
        let server = RedisServer::start(RedisKind::Redis).unwrap();
        let user = ["ACL", "SETUSER", "hotswap", "on", ">swordfish", "~*"];
        let answer = server.command(&[&user[..], rules].concat()).unwrap();
        assert!(answer.starts_with("+OK"), "{answer}");
        let config = RedisConfig {
            username: Some("hotswap".to_owned()),
            password: Some(Secret::new("swordfish")),
            ..RedisConfig::new(server.url())
        };
        let error = Redis::open(&config).await.unwrap_err().to_string();
        assert!(error.contains(&format!("refuses {command}")), "{error}");
        assert!(error.contains("+@pubsub and &{hotswap}:*"), "{error}");
    }
}

fn start_with_tls(folder: &Path, port: u16) -> RedisServer {
    let arguments = tls_arguments(folder, port);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let arguments = [&RedisServer::DURABLE[..], &arguments].concat();
    RedisServer::start_with(RedisKind::Redis, &arguments).unwrap()
}

/// The certificates of a folder by which clients identify themselves.
pub fn client_tls(folder: &Path) -> Tls {
    Tls {
        ca_file: Some(folder.join("ca.pem")),
        client: Some((folder.join("client.pem"), folder.join("client.key"))),
    }
}

#[tokio::test]
async fn the_server_and_the_engine_prove_who_they_are_by_certificates() {
    let folder = tempfile::tempdir().unwrap();
    write_certificates(folder.path()).unwrap();
    let path = |name: &str| folder.path().join(name);
    let port = free_port().unwrap();
    let _server = start_with_tls(folder.path(), port);
    let with = |tls: Tls| RedisConfig {
        tls,
        patience: Duration::from_secs(1),
        ..RedisConfig::new(format!("rediss://localhost:{port}"))
    };
    let client = Some((path("client.pem"), path("client.key")));
    let ca_file = Some(path("ca.pem"));
    let known = with(Tls {
        ca_file: ca_file.clone(),
        client: client.clone(),
    });
    let store = Redis::open(&known).await.unwrap();
    create(&store, "checkout", "production").await;
    store.close().await;
    let nameless = with(Tls {
        ca_file,
        client: None,
    });
    let strangers = with(Tls {
        ca_file: None,
        client,
    });
    for config in [nameless, strangers] {
        let error = Redis::open(&config).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    }
}

/// Every connection: of writes, reads, the log, signs of life and channels.
async fn works(store: &Redis, id: DeploymentId, seq: u64) {
    let mut appended = store.subscribe();
    let mut echoes = store.node_reports().unwrap().echoes();
    echoes.mark_unchanged();
    must_append(store, id, seq, &[log(u32::try_from(seq - 2).unwrap(), "a")]).await;
    while appended.recv().await.unwrap().head.next_seq <= seq {}
    assert_eq!(store.events(id, seq, 9).await.unwrap().len(), 1);
    let session = store.session().unwrap();
    wait_until(|| session.write_failure().is_none()).await;
    let reports = store.node_reports().unwrap();
    loop {
        reports.publish(b"report").await.unwrap();
        let echoed = timeout(Duration::from_millis(100), echoes.changed());
        if echoed.await.is_ok() {
            return;
        }
    }
}

pub async fn wait_until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not happen");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn connections_that_are_made_again_use_the_newest_password() {
    for kind in [RedisKind::Redis, RedisKind::Valkey] {
        let server = RedisServer::start(kind).unwrap();
        let user = |rules: &[&str]| {
            let command = [&["ACL", "SETUSER", "hotswap"], rules].concat();
            let answer = server.command(&command).unwrap();
            assert!(answer.starts_with("+OK"), "{answer}");
        };
        let disconnect = || {
            let answer = server.command(&["CLIENT", "KILL", "USER", "hotswap"]);
            assert!(answer.unwrap().starts_with(':'));
        };
        let with = |password: &str| RedisConfig {
            username: Some("hotswap".to_owned()),
            password: Some(Secret::new(password)),
            patience: Duration::from_secs(1),
            ..RedisConfig::new(server.url())
        };
        user(&["on", ">swordfish", "~*", "&*", "+@all"]);
        let store = Redis::open(&with("swordfish")).await.unwrap();
        let id = create(&store, "checkout", "production").await;
        must_append(&store, id, 1, &[planned()]).await;
        assert!(!store.replace_credentials(&with("swordfish")).unwrap());

        user(&["resetpass", ">mackerel"]);
        works(&store, id, 2).await;
        disconnect();
        let error = store.append(append(id, 3, None, &[log(1, "b")])).await;
        let error = format!("{:?}", error.unwrap_err());
        assert!(error.contains("password is wrong"), "{error}");
        assert!(store.replace_credentials(&with("mackerel")).unwrap());
        works(&store, id, 3).await;
        // Without a failure, if it is known before the server ends connections.
        user(&[">herring"]);
        assert!(store.replace_credentials(&with("herring")).unwrap());
        user(&["<mackerel"]);
        disconnect();
        works(&store, id, 4).await;
        store.close().await;
    }
}

#[tokio::test]
async fn connections_that_are_made_again_use_the_newest_certificates() {
    let folder = tempfile::tempdir().unwrap();
    write_certificates(folder.path()).unwrap();
    let port = free_port().unwrap();
    let mut server = start_with_tls(folder.path(), port);
    let config = RedisConfig {
        tls: client_tls(folder.path()),
        patience: Duration::from_secs(1),
        ..RedisConfig::new(format!("rediss://localhost:{port}"))
    };
    let store = Redis::open(&config).await.unwrap();
    let id = create(&store, "checkout", "production").await;
    must_append(&store, id, 1, &[planned()]).await;
    assert!(!store.replace_credentials(&config).unwrap());

    // Of another authority.
    write_certificates(folder.path()).unwrap();
    server.kill();
    server.restart().unwrap();
    let error = store.append(append(id, 2, None, &[log(0, "a")])).await;
    assert!(error.is_err(), "it trusts the authority before");
    let key = folder.path().join("client.key");
    let right = std::fs::read(&key).unwrap();
    std::fs::write(&key, "half a key").unwrap();
    let error = store.replace_credentials(&config).unwrap_err().to_string();
    assert!(error.contains("client.key"), "{error}");
    std::fs::write(&key, right).unwrap();
    assert!(store.replace_credentials(&config).unwrap());
    works(&store, id, 2).await;
    store.close().await;
}
