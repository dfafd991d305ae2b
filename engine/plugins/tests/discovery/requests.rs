//! What a backend may reach, and what happens to answers that make no sense.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use hotswap_plugins::discovery::{BackendError, BackendSettings, RegistryError, Resolver};

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

#[tokio::test]
async fn requests_to_any_other_place_are_refused_and_reach_nobody() {
    let (server, other) = (TestServer::start().await, TestServer::start().await);
    let port = server.addr.port();
    for url in [
        other.url("/ok"),
        format!("https://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://127.0.0.1:{port}@{}/", other.addr),
        format!("http://127.1:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://0x7f000001:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://0.0.0.0:{port}/"),
        "http://127.0.0.1/".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
    ] {
        let error = registry_error(settings(&server.origin()), &format!("get {url}")).await;
        let is_refused = matches!(
            &error,
            RegistryError::Denied(_) | RegistryError::Unavailable(_)
        );
        assert!(is_refused, "{url}: {error:?}");
    }
    assert!(other.requests().is_empty());
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_redirect_leads_nowhere_else() {
    let server = TestServer::start().await;
    let followed = format!("follow {}", server.url("/redirect"));
    let error = registry_error(settings(&server.origin()), &followed).await;
    assert!(matches!(error, RegistryError::Denied(_)), "{error:?}");
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_not_followed() {
    let server = TestServer::start().await;
    let url = format!("http://registry.example:{}", server.addr.port());
    for addresses in [
        &["127.0.0.1"][..],
        &["::ffff:127.0.0.1"],
        &["169.254.169.254"],
        &["0.0.0.0"],
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
    let first = act(&mut instance, &asked).await.expect_err("nobody there");
    assert!(
        matches!(first, BackendError::Registry(RegistryError::Unavailable(_))),
        "{first:?}"
    );
    let second = act(&mut instance, &asked).await.expect_err("this machine");
    assert!(
        matches!(second, BackendError::Registry(RegistryError::Denied(_))),
        "{second:?}"
    );
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
    assert!(matches!(error, RegistryError::Denied(_)), "{error:?}");
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
