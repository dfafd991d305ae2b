//! What a backend may reach, and what happens to answers that make no sense.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use hotswap_plugins::discovery::{
    BackendError, BackendInstance, BackendSettings, RegistryError, Resolver,
};

use crate::fixture::{Fixed, act, registry_error, settings, start};
use crate::server::TestServer;

#[tokio::test]
async fn a_backend_reaches_the_origins_that_its_settings_name() {
    let server = TestServer::start().await;
    let mut instance = start(settings(&server.origin())).await;
    let answer = act(&mut instance, &format!("get {}", server.url("/ok?x=1"))).await;
    assert_eq!(answer.expect("an answer"), "ok");
    let request = server.requests().remove(0);
    assert!(request.starts_with("GET /ok?x=1 HTTP/1.1\r\n"), "{request}");
    assert!(
        request.contains(&format!("host: {}\r\n", server.addr)),
        "{request}"
    );
}

/// The error of the host itself, as a component gets it that does without the SDK.
async fn host_error(instance: &mut BackendInstance, request: &str) -> String {
    let said = act(instance, &format!("raw {request}")).await;
    said.expect("the host answers")
}

#[tokio::test]
async fn requests_to_any_other_place_are_refused_and_reach_nobody() {
    let (server, other) = (TestServer::start().await, TestServer::start().await);
    let mut instance = start(settings(&server.origin())).await;
    let (port, other_port) = (server.addr.port(), other.addr.port());
    for (scheme, authority) in [
        // Other hosts and ports.
        ("http", other.addr.to_string()),
        ("http", "127.0.0.1".to_owned()),
        ("http", format!("127.0.0.2:{port}")),
        ("http", format!("other.example:{port}")),
        ("http", "metadata.google.internal".to_owned()),
        ("http", "169.254.169.254".to_owned()),
        ("http", format!("[fe80::1]:{port}")),
        ("http", format!("[64:ff9b::a9fe:a9fe]:{port}")),
        // The same place in other words.
        ("https", server.addr.to_string()),
        ("http", format!("localhost:{port}")),
        ("http", format!("127.0.0.1.:{port}")),
        ("http", format!("127.1:{port}")),
        ("http", format!("0177.0.0.1:{port}")),
        ("http", format!("2130706433:{port}")),
        ("http", format!("0x7f000001:{port}")),
        ("http", format!("0.0.0.0:{port}")),
        ("http", format!("[::]:{port}")),
        ("http", format!("[::1]:{port}")),
        ("http", format!("[::ffff:127.0.0.1]:{port}")),
        ("http", format!("[::ffff:7f00:1]:{port}")),
        // A user who is called like the host that is allowed.
        ("http", format!("127.0.0.1:{port}@127.0.0.1:{other_port}")),
        ("http", format!("me@127.0.0.1:{port}")),
    ] {
        let request = format!("GET {scheme} {authority} /ok");
        let said = host_error(&mut instance, &request).await;
        assert_eq!(said, "denied", "{request}");
    }
    for method in ["CONNECT", "TRACE"] {
        let request = format!("{method} http {} /ok", server.addr);
        let said = host_error(&mut instance, &request).await;
        assert_eq!(said, "denied", "{request}");
    }
    // The engine speaks no other protocol.
    let request = format!("GET ftp {} /ok", server.addr);
    let said = host_error(&mut instance, &request).await;
    assert_eq!(said, "no such protocol");
    assert!(other.requests().is_empty());
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_refusal_names_what_was_asked_for_and_the_configuration() {
    let (server, other) = (TestServer::start().await, TestServer::start().await);
    let asked = format!("get {}", other.url("/ok"));
    let error = registry_error(settings(&server.origin()), &asked).await;
    let RegistryError::Denied(text) = &error else {
        panic!("{error:?}")
    };
    let expected = "the configuration of the backend does not allow requests to";
    assert_eq!(*text, format!("{expected} {}", other.addr));
}

#[tokio::test]
async fn a_path_that_looks_like_another_place_stays_a_path() {
    let (server, other) = (TestServer::start().await, TestServer::start().await);
    let mut instance = start(settings(&server.origin())).await;
    for path in [
        format!("//{}/ok", other.addr),
        format!("/@{}/ok", other.addr),
        format!("@{}/ok", other.addr),
        format!("http://{}/ok", other.addr),
    ] {
        let request = format!("GET http {} {path}", server.addr);
        host_error(&mut instance, &request).await;
    }
    assert!(other.requests().is_empty());
    // Whatever was a path, with the host that is allowed.
    let host = format!("\r\nhost: {}\r\n", server.addr);
    let requests = server.requests();
    assert!(requests.len() >= 2, "{requests:?}");
    for request in requests {
        assert!(request.starts_with("GET /"), "{request}");
        assert!(request.contains(&host), "{request}");
    }
}

#[tokio::test]
async fn a_redirect_leads_nowhere_else() {
    let (server, other) = (TestServer::start().await, TestServer::start().await);
    let mut instance = start(settings(&server.origin())).await;
    for status in [301, 302, 303, 307, 308] {
        let path = format!("/redirect/{status}/{}", other.addr);
        // The host does not follow it.
        let asked = format!("GET http {} {path}", server.addr);
        let said = host_error(&mut instance, &asked).await;
        assert_eq!(said, status.to_string());
        // A component that does is refused.
        let followed = format!("follow {}", server.url(&path));
        let error = act(&mut instance, &followed).await.expect_err("refused");
        let BackendError::Registry(RegistryError::Denied(text)) = &error else {
            panic!("{error:?}")
        };
        assert!(text.contains(&other.addr.to_string()), "{text}");
    }
    assert!(other.requests().is_empty());
    assert_eq!(server.requests().len(), 10);
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_not_followed() {
    let server = TestServer::start().await;
    let url = format!("http://registry.example:{}", server.addr.port());
    for addresses in [
        &["127.0.0.1"][..],
        &["::ffff:127.0.0.1"],
        &["169.254.169.254"],
        &["::ffff:169.254.169.254"],
        &["0.0.0.0"],
        &["::"],
        &["fe80::1"],
        // Ways to IPv4 by IPv6.
        &["64:ff9b::7f00:1"],
        &["2002:7f00:1::"],
        &["::1", "127.0.0.1"],
    ] {
        let settings = BackendSettings {
            resolver: Fixed::new(addresses),
            ..settings(&url)
        };
        let error = registry_error(settings, &format!("get {url}/ok")).await;
        let RegistryError::Denied(text) = &error else {
            panic!("{addresses:?}: {error:?}")
        };
        assert!(text.contains("leads to an address"), "{text}");
    }
    assert!(server.requests().is_empty());
    // The operator has named this machine.
    let url = format!("http://localhost:{}", server.addr.port());
    let settings = BackendSettings {
        resolver: Fixed::new(&["10.0.0.1", "127.0.0.1"]),
        ..settings(&url)
    };
    let mut instance = start(settings).await;
    let answer = act(&mut instance, &format!("get {url}/ok")).await;
    assert_eq!(answer.expect("an answer"), "ok");
}

/// The first answer is harmless, each later one leads to this machine.
#[derive(Default)]
struct Rebinding(AtomicUsize);

#[async_trait]
impl Resolver for Rebinding {
    async fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let asked = self.0.fetch_add(1, Ordering::Relaxed);
        // Nobody has the first one: it is for documentation.
        let address = if asked == 0 { "192.0.2.1" } else { "127.0.0.1" };
        Ok(vec![address.parse().map_err(io::Error::other)?])
    }
}

#[tokio::test]
async fn a_name_is_resolved_once_for_a_connection_and_its_addresses_are_checked_each_time() {
    let server = TestServer::start().await;
    let url = format!("http://registry.example:{}", server.addr.port());
    let resolver = Arc::new(Rebinding::default());
    let settings = BackendSettings {
        resolver: Arc::clone(&resolver) as Arc<dyn Resolver>,
        ..settings(&url)
    };
    let mut instance = start(settings).await;
    let asked = format!("get {url}/ok");
    // It may go there, and nobody is there.
    let first = act(&mut instance, &asked).await.expect_err("nobody there");
    assert!(
        matches!(first, BackendError::Registry(RegistryError::Unavailable(_))),
        "{first:?}"
    );
    let second = act(&mut instance, &asked).await.expect_err("this machine");
    let BackendError::Registry(RegistryError::Denied(text)) = &second else {
        panic!("{second:?}")
    };
    assert!(text.contains("leads to an address"), "{text}");
    assert_eq!(resolver.0.load(Ordering::Relaxed), 2);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn only_names_in_the_settings_are_resolved() {
    let resolving = || BackendSettings {
        resolver: Fixed::new(&["10.0.0.1"]),
        ..settings("http://registry.example:8500")
    };
    let mut instance = start(resolving()).await;
    let found = act(&mut instance, "resolve Registry.example.").await;
    assert_eq!(found.expect("addresses"), "10.0.0.1");
    let error = registry_error(resolving(), "resolve my-data.attacker.example").await;
    let RegistryError::Denied(text) = &error else {
        panic!("{error:?}")
    };
    assert!(text.contains("add it to names"), "{text}");
}

#[tokio::test]
async fn answers_that_make_no_sense_or_do_not_end_are_errors_of_the_registry() {
    let server = TestServer::start().await;
    for (path, part) in [
        ("/garbage", "does not speak HTTP"),
        ("/truncated", "broke off"),
        ("/many-headers", "does not speak HTTP"),
        ("/silent", "in time"),
        ("/endless", "exceeds limit"),
    ] {
        let error = registry_error(
            settings(&server.origin()),
            &format!("get {}", server.url(path)),
        )
        .await;
        let RegistryError::Unavailable(text) = &error else {
            panic!("{path}: {error:?}")
        };
        assert!(text.contains(part), "{path}: {text}");
    }
}

#[tokio::test]
async fn lines_are_read_as_they_arrive() {
    let server = TestServer::start().await;
    let mut instance = start(settings(&server.origin())).await;
    let lines = act(&mut instance, &format!("lines {}", server.url("/lines"))).await;
    // What follows the last end of a line may be a part of a message.
    assert_eq!(lines.expect("lines"), "one two timed out");
}

#[tokio::test]
async fn connections_are_limited() {
    let server = TestServer::start().await;
    let mut instance = start(settings(&server.origin())).await;
    let held = act(&mut instance, &format!("hold {}", server.url("/lines"))).await;
    assert_eq!(held.expect("a count"), "4");
}
