//! What a backend learns from DNS, and what it may ask.

use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use hotswap_plugins::discovery::{
    BackendSettings, DnsOptions, DnsResolver, RegistryError, Resolver as _,
};

use crate::dns_server::{DnsAnswer, DnsServer, a, aaaa, srv};
use crate::fixture::{act, registry_error, start};

const NAME: &str = "_node._tcp.example.com";

fn resolver(server: &DnsServer, min_ttl: Duration) -> Arc<DnsResolver> {
    Arc::new(DnsResolver::new(DnsOptions {
        name_server: Some(server.addr.to_string()),
        min_ttl,
        timeout: Duration::from_millis(200),
    }))
}

fn settings(server: &DnsServer) -> BackendSettings {
    BackendSettings {
        names: vec![NAME.to_owned()],
        resolver: resolver(server, Duration::from_secs(60)),
        ..BackendSettings::new("probe")
    }
}

#[tokio::test]
async fn srv_records_come_with_the_addresses_of_their_targets() {
    let server = DnsServer::start().await;
    let records = vec![srv(5001, "a.example.com."), srv(5002, "b.example.com.")];
    server.answer("_node._tcp.example.com.", DnsAnswer::Records(records, 60));
    let addresses = vec![a("10.0.0.1"), a("10.0.0.2")];
    server.answer("a.example.com.", DnsAnswer::Records(addresses, 60));
    // b has none.
    let mut instance = start(settings(&server)).await;
    let found = act(&mut instance, &format!("srv {NAME}")).await;
    let found = found.expect("records");
    let mut found: Vec<_> = found.split(' ').collect();
    found.sort_unstable();
    assert_eq!(found[1], "b.example.com:5002/");
    assert!(
        found[0].starts_with("a.example.com:5001/10.0.0."),
        "{found:?}"
    );
    assert!(found[0].contains(','), "{found:?}");
}

#[tokio::test]
async fn a_name_without_records_is_told_from_a_server_that_does_not_say() {
    let server = DnsServer::start().await;
    for (answer, part) in [
        (None, None),
        (Some(DnsAnswer::Records(Vec::new(), 60)), None),
        (Some(DnsAnswer::Silence), Some("answered in time")),
        (Some(DnsAnswer::Garbage), Some("example.com")),
        (
            Some(DnsAnswer::Code(ResponseCode::ServFail)),
            Some("do not say"),
        ),
        (
            Some(DnsAnswer::Code(ResponseCode::Refused)),
            Some("do not say"),
        ),
    ] {
        if let Some(answer) = answer.clone() {
            server.answer("_node._tcp.example.com.", answer);
        }
        for what in ["srv", "resolve"] {
            let what = format!("{what} {NAME}");
            let Some(part) = part else {
                let mut instance = start(settings(&server)).await;
                assert_eq!(act(&mut instance, &what).await.expect("none"), "");
                continue;
            };
            let error = registry_error(settings(&server), &what).await;
            let RegistryError::Unavailable(text) = &error else {
                panic!("{answer:?}: {error:?}")
            };
            assert!(text.contains(part), "{answer:?}: {text}");
        }
    }
}

/// Who takes the half for the whole loses all nodes of the other family.
#[tokio::test]
async fn half_an_answer_is_an_error() {
    let server = DnsServer::start().await;
    let both = || vec![a("10.0.0.1"), aaaa("fd00::1")];
    for failing in [RecordType::A, RecordType::AAAA] {
        let records = vec![srv(5001, "a.example.com.")];
        server.answer("_node._tcp.example.com.", DnsAnswer::Records(records, 60));
        let answer = DnsAnswer::But(failing, ResponseCode::ServFail, both());
        server.answer("a.example.com.", answer);
        let resolver = resolver(&server, Duration::from_millis(1));
        let error = resolver.records("a.example.com").await.expect_err("half");
        assert!(
            error.to_string().contains("do not say"),
            "{failing} {error}"
        );
        let error = resolver.srv(NAME).await.expect_err("half");
        assert!(
            error.to_string().contains("do not say"),
            "{failing} {error}"
        );
        // To connect to a registry, one family suffices.
        let found = resolver.addresses("a.example.com").await.expect("some");
        assert_eq!(found.len(), 1, "{found:?}");
        // One that has none of a family says so.
        let answer = DnsAnswer::But(failing, ResponseCode::NoError, both());
        server.answer("a.example.com.", answer);
        let found = resolver.records("a.example.com").await.expect("an answer");
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

#[tokio::test]
async fn addresses_are_sorted_and_those_of_ipv4_come_first() {
    let server = DnsServer::start().await;
    let addresses = vec![
        aaaa("fd00::2"),
        a("10.0.0.10"),
        aaaa("fd00::1"),
        a("10.0.0.9"),
    ];
    server.answer("a.example.com.", DnsAnswer::Records(addresses, 60));
    let resolver = resolver(&server, Duration::from_secs(60));
    let found = resolver.records("a.example.com").await.expect("found");
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, ["10.0.0.9", "10.0.0.10", "fd00::1", "fd00::2"]);
}

#[tokio::test]
async fn answers_are_kept_for_their_time_to_live_and_at_least_for_the_floor() {
    let server = DnsServer::start().await;
    server.answer("a.example.com.", DnsAnswer::Records(vec![a("10.0.0.1")], 0));
    let resolver = resolver(&server, Duration::from_secs(60));
    for _ in 0..10 {
        let found = resolver.records("a.example.com").await.expect("found");
        assert_eq!(
            found,
            ["10.0.0.1".parse::<std::net::IpAddr>().expect("one")]
        );
    }
    // For A and for AAAA.
    assert!(server.asked().len() <= 2, "{:?}", server.asked());
}

#[tokio::test]
async fn a_server_that_answers_again_is_believed_again() {
    let server = DnsServer::start().await;
    server.answer("_node._tcp.example.com.", DnsAnswer::Silence);
    let resolver = resolver(&server, Duration::from_millis(1));
    resolver.srv(NAME).await.expect_err("silence");
    let records = vec![srv(5001, "a.example.com.")];
    server.answer("_node._tcp.example.com.", DnsAnswer::Records(records, 60));
    let found = resolver.srv(NAME).await.expect("an answer");
    assert_eq!((&*found[0].target, found[0].port), ("a.example.com", 5001));
    assert!(found[0].addresses.is_empty());
    assert!(
        found[0].ttl <= Duration::from_secs(60),
        "{:?}",
        found[0].ttl
    );
}

#[tokio::test]
async fn names_that_the_settings_do_not_hold_are_asked_of_nobody() {
    let server = DnsServer::start().await;
    for what in ["srv", "resolve"] {
        let what = format!("{what} stolen-data.attacker.example");
        let error = registry_error(settings(&server), &what).await;
        let RegistryError::Denied(text) = &error else {
            panic!("{error:?}")
        };
        assert!(text.contains("add it to names"), "{text}");
    }
    assert!(server.asked().is_empty());
}
