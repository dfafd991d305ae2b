//! TLS to a registry: whom the engine trusts, who it says it is, and what the component sees.

use hotswap_plugins::discovery::{
    BackendSettings, ClientCertificate, RegistryError, TlsError, TlsFiles,
};
use tempfile::tempdir;

use crate::authority::Authority;
use crate::fixture::{Fixed, act, registry_error, settings, start};
use crate::server::TestServer;

/// Settings for a server on this machine, by a name.
fn tls_settings(server: &TestServer, tls: TlsFiles) -> (BackendSettings, String) {
    let url = format!("https://localhost:{}", server.addr.port());
    let settings = BackendSettings {
        resolver: Fixed::new(&["127.0.0.1"]),
        tls,
        ..settings(&url)
    };
    (settings, url)
}

async fn why_refused(settings: BackendSettings, url: &str) -> String {
    match registry_error(settings, &format!("get {url}/ok")).await {
        RegistryError::Unavailable(text) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_is_trusted_by_its_authority_and_asked_for_by_its_configured_name() {
    let folder = tempdir().expect("a folder");
    let authority = Authority::new();
    let server = authority.server(&authority.issue("localhost"), false);
    let server = TestServer::start_tls(server).await;
    let tls = TlsFiles {
        authorities: Some(authority.write(folder.path())),
        client: None,
    };
    let (settings, url) = tls_settings(&server, tls);
    let mut instance = start(settings).await;
    let answer = act(&mut instance, &format!("get {url}/ok")).await;
    assert_eq!(answer.expect("an answer"), "ok");
    let handshake = server.handshakes().remove(0);
    assert_eq!(handshake.server_name.as_deref(), Some("localhost"));
    // A redirect is an answer, over TLS, too.
    let other = TestServer::start().await;
    let followed = format!("follow {url}/redirect/302/{}", other.addr);
    let error = act(&mut instance, &followed).await;
    let text = error.expect_err("denied").to_string();
    assert!(text.contains("does not allow requests"), "{text}");
    assert!(text.contains(&other.addr.to_string()), "{text}");
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_with_what_to_do() {
    let folder = tempdir().expect("a folder");
    let authority = Authority::new();
    let trusted = |is_trusted: bool| TlsFiles {
        authorities: is_trusted.then(|| authority.write(folder.path())),
        client: None,
    };
    for (issued, is_trusted, part) in [
        (authority.issue("localhost"), false, "set caFile"),
        (
            authority.issue("elsewhere.example"),
            true,
            "is not for localhost",
        ),
        (
            authority.issue_until("localhost", 2001),
            true,
            "has expired",
        ),
    ] {
        let server = TestServer::start_tls(authority.server(&issued, false)).await;
        let other = Authority::new();
        let tls = match is_trusted {
            true => trusted(true),
            // Not the system's: it may have none.
            false => TlsFiles {
                authorities: Some(other.write(folder.path())),
                client: None,
            },
        };
        let (settings, url) = tls_settings(&server, tls);
        let text = why_refused(settings, &url).await;
        assert!(text.contains(part), "{text}");
        assert!(server.requests().is_empty());
    }
    let plain = TestServer::start().await;
    let (settings, url) = tls_settings(&plain, trusted(true));
    let text = why_refused(settings, &url).await;
    assert!(text.contains("does not speak TLS"), "{text}");
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_the_newest_of_the_files() {
    let folder = tempdir().expect("a folder");
    let authority = Authority::new();
    let server = authority.server(&authority.issue("localhost"), true);
    let server = TestServer::start_tls(server).await;
    let mut tls = TlsFiles {
        authorities: Some(authority.write(folder.path())),
        client: None,
    };
    let (settings, url) = tls_settings(&server, tls.clone());
    let text = why_refused(settings, &url).await;
    assert!(
        text.contains("set clientCertificate and clientKey"),
        "{text}"
    );
    let first = authority.issue("engine-1");
    let (certificate, key) = first.write(folder.path());
    tls.client = Some(ClientCertificate {
        certificate: certificate.clone(),
        key,
    });
    let (settings, url) = tls_settings(&server, tls);
    let mut instance = start(settings).await;
    let mut shown = async || {
        let answer = act(&mut instance, &format!("get {url}/ok")).await;
        assert_eq!(answer.expect("an answer"), "ok");
        server.handshakes().pop().and_then(|last| last.client)
    };
    assert_eq!(shown().await, Some(first.certificate));
    // Renewed: the next connection shows it.
    let second = authority.issue("engine-2");
    second.write(folder.path());
    assert_eq!(shown().await, Some(second.certificate.clone()));
    // In the middle of the next renewal.
    std::fs::write(&certificate, "half a certif").expect("written");
    assert_eq!(shown().await, Some(second.certificate));
}

#[tokio::test]
async fn a_scheme_is_a_part_of_the_origin_and_addresses_are_checked_with_tls_too() {
    let folder = tempdir().expect("a folder");
    let authority = Authority::new();
    let server = authority.server(&authority.issue("registry.example"), false);
    let server = TestServer::start_tls(server).await;
    let tls = TlsFiles {
        authorities: Some(authority.write(folder.path())),
        client: None,
    };
    let port = server.addr.port();
    let secure = format!("https://registry.example:{port}");
    let settings = BackendSettings {
        resolver: Fixed::new(&["127.0.0.1"]),
        tls,
        ..settings(&secure)
    };
    for (url, part) in [
        (
            format!("http://registry.example:{port}"),
            "does not allow requests",
        ),
        (secure, "leads to an address"),
    ] {
        let error = registry_error(settings.clone(), &format!("get {url}/ok")).await;
        let RegistryError::Denied(text) = &error else {
            panic!("{url}: {error:?}")
        };
        assert!(text.contains(part), "{text}");
    }
    assert!(server.handshakes().is_empty());
}

#[tokio::test]
async fn files_for_tls_that_cannot_be_used_are_named() {
    let folder = tempdir().expect("a folder");
    let missing = folder.path().join("missing.pem");
    let authority = Authority::new();
    let (certificate, _) = authority.issue("a").write(folder.path());
    let (_, other_key) = {
        let other = folder.path().join("other");
        std::fs::create_dir(&other).expect("a folder");
        authority.issue("b").write(&other)
    };
    let with_key = |key| TlsFiles {
        authorities: Some(authority.write(folder.path())),
        client: Some(ClientCertificate {
            certificate: certificate.clone(),
            key,
        }),
    };
    let error = with_key(missing).check().await.expect_err("missing");
    assert!(error.to_string().contains("missing.pem"), "{error}");
    let error = with_key(certificate.clone()).check().await;
    assert!(matches!(error, Err(TlsError::NoKey(_))), "{error:?}");
    let error = with_key(other_key.clone()).check().await;
    assert!(matches!(error, Err(TlsError::Pair { .. })), "{error:?}");
    let no_authority = TlsFiles {
        authorities: Some(other_key),
        client: None,
    };
    let error = no_authority.check().await;
    assert!(
        matches!(error, Err(TlsError::NoCertificate(_))),
        "{error:?}"
    );
}
