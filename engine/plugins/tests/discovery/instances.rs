//! What an instance may use, and how it ends.

use std::time::{Duration, Instant};

use hotswap_core::CauseKind;
use hotswap_plugins::discovery::{
    BackendError, BackendSettings, HealthCheck, Registration, RegistryError, SettingsError,
};
use serde_json::json;

use crate::fixture::{act, probe, start};

fn registration(id: &str) -> Registration {
    Registration {
        id: id.to_owned(),
        service: "node".to_owned(),
        address: "10.0.0.1".to_owned(),
        ports: Vec::new(),
        version: None,
        zone: None,
        metadata: Vec::new(),
        check: Some(HealthCheck::Ttl(15_000)),
        deregister_after: None,
    }
}

#[tokio::test]
async fn an_instance_keeps_its_state_between_calls_and_shares_none() {
    let probe = probe().await;
    let start = || probe.start(BackendSettings::new("probe"));
    let (mut first, mut second) = (
        start().await.expect("it starts"),
        start().await.expect("too"),
    );
    assert_eq!(act(&mut first, "count").await.expect("a count"), "1");
    assert_eq!(act(&mut first, "count").await.expect("a count"), "2");
    assert_eq!(act(&mut second, "count").await.expect("a count"), "1");
}

#[tokio::test]
async fn an_error_of_the_registry_ends_no_instance() {
    let mut instance = start(BackendSettings::new("probe")).await;
    let denied = instance.register(registration("denied")).await;
    let denied = denied.expect_err("denied");
    assert_eq!(denied.to_string(), "the registry denied access: not you");
    assert!(!denied.has_ended());
    instance
        .register(registration("node-1"))
        .await
        .expect("it registers");
    let unsupported = instance
        .deregister("node".to_owned(), "node-1".to_owned())
        .await;
    assert!(matches!(
        unsupported,
        Err(BackendError::Registry(RegistryError::Unsupported))
    ));
}

#[tokio::test]
async fn a_panic_ends_the_instance_with_its_text() {
    let mut instance = start(BackendSettings::new("probe")).await;
    let error = act(&mut instance, "panic a reason")
        .await
        .expect_err("a panic");
    let text = error.to_string();
    assert!(
        text.starts_with("the backend crashed: panicked at "),
        "{text}"
    );
    assert!(text.contains("asked for \"a reason\""), "{text}");
    assert!(error.has_ended());
    let ended = act(&mut instance, "count").await.expect_err("it has ended");
    assert!(matches!(ended, BackendError::Ended), "{ended:?}");
}

#[tokio::test]
async fn instructions_and_memory_and_time_are_limited() {
    for (what, kind, part) in [
        (
            "spin",
            CauseKind::Limit,
            "200 million instructions in one call",
        ),
        (
            "allocate",
            CauseKind::Limit,
            "needs more than 16 MiB of memory",
        ),
    ] {
        let mut instance = start(BackendSettings::new("probe")).await;
        let error = act(&mut instance, what).await.expect_err(what);
        let BackendError::Crashed(cause) = &error else {
            panic!("{what}: {error:?}")
        };
        assert_eq!(cause.kind, kind);
        assert!(cause.message.contains(part), "{cause}");
    }
    let mut instance = start(BackendSettings::new("probe")).await;
    let started = Instant::now();
    let error = act(&mut instance, "sleep").await.expect_err("too long");
    assert!(matches!(error, BackendError::TimedOut(_)), "{error:?}");
    assert!(started.elapsed() >= Duration::from_millis(2500));
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_flood_of_lines_is_no_harm() {
    let mut instance = start(BackendSettings::new("probe")).await;
    act(&mut instance, "log").await.expect("it goes on");
}

#[tokio::test]
async fn a_cancelled_call_ends_the_instance() {
    let mut instance = start(BackendSettings::new("probe")).await;
    let call = act(&mut instance, "sleep");
    let _ = tokio::time::timeout(Duration::from_millis(50), call).await;
    let ended = act(&mut instance, "count").await.expect_err("it has ended");
    assert!(matches!(ended, BackendError::Ended), "{ended:?}");
}

#[tokio::test]
async fn a_configuration_is_checked_by_the_schema_and_by_the_backend() {
    let probe = probe().await;
    let with = |config| BackendSettings {
        config: Some(config),
        ..BackendSettings::new("probe")
    };
    let error = probe.start(with(json!({ "rejct": true }))).await;
    let error = error.expect_err("misspelt");
    assert!(matches!(error, SettingsError::Config(_)), "{error:?}");
    let error = probe.start(with(json!({ "reject": true }))).await;
    let text = error.expect_err("rejected").to_string();
    assert_eq!(text, "the configuration cannot be used: reject is set");
}
