//! Secrets are in the requests, and nowhere that the component sees.

use std::collections::BTreeMap;

use hotswap_common::Secret;
use hotswap_plugins::discovery::{BackendSettings, SettingsError};

use crate::fixture::{act, probe, settings, start};
use crate::server::TestServer;

fn with_secrets(server: &TestServer) -> BackendSettings {
    let secrets = [("token", "t-1"), ("password", "p\"1")];
    let secrets = secrets.map(|(name, value)| (name.to_owned(), Secret::new(value).into()));
    BackendSettings {
        secrets: BTreeMap::from(secrets),
        ..settings(&server.origin())
    }
}

#[tokio::test]
async fn a_secret_header_is_added_to_each_request_and_cannot_be_replaced() {
    let server = TestServer::start().await;
    let mut instance = start(with_secrets(&server)).await;
    for what in ["get", "set-header"] {
        let done = act(&mut instance, &format!("{what} {}", server.url("/ok"))).await;
        assert_eq!(done.expect("an answer"), "ok");
    }
    for request in server.requests() {
        assert!(
            request.contains("authorization: Bearer t-1\r\n"),
            "{request}"
        );
        assert!(!request.contains("mine"), "{request}");
    }
}

#[tokio::test]
async fn a_secret_is_put_into_bodies_only_where_the_backend_logs_in() {
    let server = TestServer::start().await;
    let mut instance = start(with_secrets(&server)).await;
    for path in ["/login", "/elsewhere"] {
        let done = act(&mut instance, &format!("post {}", server.url(path))).await;
        done.expect("an answer");
    }
    let requests = server.requests();
    assert!(requests[0].ends_with(r#""p\"1""#), "{}", requests[0]);
    assert!(
        requests[1].ends_with(r#""${secret.password}""#),
        "{}",
        requests[1]
    );
}

#[tokio::test]
async fn a_secret_that_the_backend_does_not_know_is_rejected() {
    let settings = BackendSettings {
        secrets: [("tokn".to_owned(), Secret::new("x").into())].into(),
        ..BackendSettings::new("probe")
    };
    let error = probe().await.start(settings).await.expect_err("unknown");
    assert!(
        matches!(error, SettingsError::UnknownSecret { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("token, password"), "{error}");
}
