//! How engines identify themselves to a server, and the server to them.

use std::path::Path;

use hotswap_common::Secret;
use hotswap_store::redis::{Error, RequiredDurability, Tls};
use hotswap_store::{Journal, Redis, RedisConfig};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::redis_server::{RedisKind, RedisServer};
use crate::suite::create;

#[tokio::test]
async fn a_user_with_the_documented_permissions_is_enough() {
    for kind in [RedisKind::Redis, RedisKind::Valkey] {
        let server = RedisServer::start(kind).unwrap();
        let answer = server
            .command(&[
                "ACL",
                "SETUSER",
                "hotswap",
                "on",
                ">swordfish",
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
                "+ping",
                "-flushall",
                "-flushdb",
            ])
            .unwrap();
        assert!(answer.starts_with("+OK"), "{answer}");
        let config = RedisConfig {
            username: Some("hotswap".to_owned()),
            password: Some(Secret::new("swordfish")),
            ..RedisConfig::new(server.url())
        };
        let store = Redis::open(&config).await.unwrap();
        let id = create(&store, "checkout", "production").await;
        let lease = store.acquire_lease(id).await.unwrap();
        assert_eq!(lease.head.next_seq, 1);
        assert_eq!(store.events_after(0, 9).await.unwrap().len(), 1);
        store.close().await;

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
async fn a_user_that_may_not_read_the_configuration_is_refused_unless_that_is_wanted() {
    let server = RedisServer::start(RedisKind::Redis).unwrap();
    server
        .command(&[
            "ACL",
            "SETUSER",
            "hotswap",
            "on",
            ">swordfish",
            "~*",
            "&*",
            "+@all",
            "-config",
        ])
        .unwrap();
    let config = RedisConfig {
        username: Some("hotswap".to_owned()),
        password: Some(Secret::new("swordfish")),
        ..RedisConfig::new(server.url())
    };
    let error = Redis::open(&config).await.unwrap_err().to_string();
    assert!(error.contains("CONFIG GET"), "{error}");
    let config = RedisConfig {
        durability: RequiredDurability::Anything,
        ..config
    };
    let store = Redis::open(&config).await.unwrap();
    assert!(!store.durability().is_known);
    store.close().await;
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

/// Writes a certificate authority, and certificates of it for this machine with their keys.
pub fn write_certificates(folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    // Sentinels name servers by their addresses.
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

#[tokio::test]
async fn the_server_and_the_engine_prove_who_they_are_by_certificates() {
    let folder = tempfile::tempdir().unwrap();
    write_certificates(folder.path());
    let path = |name: &str| folder.path().join(name);
    let text = |name: &str| path(name).display().to_string();
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port().to_string()
    };
    let (certificate, key, ca) = (text("server.pem"), text("server.key"), text("ca.pem"));
    let arguments = [
        &RedisServer::DURABLE[..],
        &[
            "--tls-port",
            &port,
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
        ],
        &["--tls-ca-cert-file", &ca],
    ];
    let _server = RedisServer::start_with(RedisKind::Redis, &arguments.concat()).unwrap();
    let with = |tls: Tls| RedisConfig {
        tls,
        patience: std::time::Duration::from_secs(1),
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
