//! Which tokens open which hubs and streams, and for how long.

use std::io;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hotswap_api::Role;
use hotswap_core::{Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;

use super::start;
use super::support::{
    DEPLOYMENTS, HubClient, METRICS, ManualDeployment, STREAM, SUBSCRIBE, SUBSCRIBE_TO_ALL,
    SocketClient, SseClient, negotiate, rejected_upgrade,
};
use crate::client::{API_TOKEN, Client};

const EVENTS: &str = "/api/v1/events";

async fn stream(client: &Client, path: &str) -> crate::client::Answer {
    let accept_events = |it: reqwest::RequestBuilder| it.header("accept", "text/event-stream");
    client.send(Method::GET, path, accept_events).await
}

#[tokio::test]
async fn connections_without_a_valid_token_are_rejected() {
    let engine = start().await;
    let deployment = ManualDeployment::start(&engine).await;
    for (client, status, slug) in [
        (engine.with_token(None), 401, "unauthorized"),
        (
            engine.with_token(Some("not-the-token-of-these-tests")),
            401,
            "unauthorized",
        ),
        (engine.expired(Role::Admin), 401, "token-expired"),
        (engine.node(), 403, "forbidden"),
    ] {
        let mut answers = Vec::new();
        for hub in [DEPLOYMENTS, "/hubs/deployment", METRICS] {
            let path = format!("{hub}/negotiate?negotiateVersion=1");
            answers.push(client.send(Method::POST, &path, |it| it).await);
            answers.push(client.get(&format!("{hub}?id=x")).await);
            answers.push(rejected_upgrade(&client, hub).await);
        }
        for events in [EVENTS, &deployment.events_path()] {
            answers.push(stream(&client, events).await);
            answers.push(rejected_upgrade(&client, &format!("{events}/socket")).await);
        }
        for answer in answers {
            let challenge = answer.header("www-authenticate").to_owned();
            assert_eq!(challenge == "Bearer", status == 401, "{answer:?}");
            answer.problem(status, slug);
        }
    }
    engine.stop().await;
}

#[tokio::test]
async fn only_admins_can_watch_all_deployments() {
    let engine = start().await;
    let deployment = ManualDeployment::start(&engine).await;
    for role in Role::ALL {
        let client = engine.signed("ada", role);
        let mut hub = HubClient::connect(&client, DEPLOYMENTS).await;
        let all = hub.invoke(SUBSCRIBE_TO_ALL, json!([])).await;
        let socket = format!("{EVENTS}/socket");
        if role == Role::Admin {
            assert_eq!(all.unwrap()["recovered"], false);
            SseClient::open(&client, EVENTS, None).await;
            SocketClient::open(&client, &socket).await;
        } else {
            let reason =
                "Failed to invoke 'SubscribeToAllDeployments' because user is unauthorized";
            assert_eq!(all, Err(reason.to_owned()));
            rejected_upgrade(&client, &socket)
                .await
                .problem(403, "forbidden");
            stream(&client, EVENTS).await.problem(403, "forbidden");
        }
        // Every role can watch one deployment and metrics.
        let answer = hub.invoke(SUBSCRIBE, deployment.arguments()).await.unwrap();
        assert_eq!(answer["snapshot"]["executionId"], deployment.arguments()[0]);
        let id = hub.stream(STREAM, deployment.arguments()).await;
        assert_eq!(hub.item(&id).await.unwrap().argument, answer);
        let mut metrics = HubClient::connect(&client, METRICS).await;
        let subscribed = metrics.invoke("SubscribeToMetrics", json!(["configured"]));
        assert_eq!(subscribed.await, Ok(Value::Null));
        let events = deployment.events_path();
        SseClient::open(&client, &events, None).await;
        SocketClient::open(&client, &format!("{events}/socket")).await;
    }
    engine.stop().await;
}

#[tokio::test]
async fn connections_and_streams_end_when_their_token_expires() {
    let engine = start().await;
    let deployment = ManualDeployment::start(&engine).await;
    let events = deployment.events_path();
    let soon = SystemClock.now() + Duration::from_secs(2);
    let client = engine.signed_until("ada", Role::Viewer, soon);
    // A fresh token of the same user extends a connection that an older token negotiated.
    let response = negotiate(&client, DEPLOYMENTS, "negotiateVersion=1").await;
    let path = format!(
        "{DEPLOYMENTS}?id={}",
        response["connectionToken"].as_str().unwrap()
    );
    let mut fresh = HubClient::connect(&engine.signed("ada", Role::Viewer), &path).await;

    let mut hub = HubClient::connect(&client, DEPLOYMENTS).await;
    hub.invoke(SUBSCRIBE, deployment.arguments()).await.unwrap();
    let metrics = HubClient::connect_negotiated(&client, METRICS).await;
    let sse = SseClient::open(&client, &events, None).await;
    let socket = SocketClient::open(&client, &format!("{events}/socket")).await;
    for (received, close, code) in [hub.until_closed().await, metrics.until_closed().await] {
        // The client may reconnect at once: it fetches a fresh token.
        let close = (&close["error"], &close["allowReconnect"], code);
        let expected = json!("The token has expired.");
        assert_eq!(
            (received, close),
            (vec![], (&expected, &json!(true), Some(1000)))
        );
    }
    let names = sse.until_closed().await.into_iter().map(|event| event.name);
    assert_eq!(names.collect::<Vec<_>>(), ["message", "live"]);
    let (messages, code) = socket.until_closed().await;
    assert_eq!((messages.len(), code), (2, Some(1008)));
    for path in [DEPLOYMENTS, &format!("{events}/socket")] {
        rejected_upgrade(&client, path)
            .await
            .problem(401, "token-expired");
    }
    fresh.assert_no_events().await;
    engine.stop().await;
}

/// The environment variable that marks the child process of this test.
const OWN_PROCESS: &str = "HOTSWAP_TESTS_OWN_PROCESS";

/// Runs in a process of its own: the log of a process includes that of other tests, and the
/// log level is one for the whole process.
#[test]
fn a_token_in_the_url_is_accepted_where_browsers_need_it_and_never_logged() {
    if std::env::var_os(OWN_PROCESS).is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(check_that_tokens_are_not_logged());
    }
    let name = "live::authorisation::a_token_in_the_url_is_accepted_where_browsers_need_it_and_never_logged";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(OWN_PROCESS, "1")
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && output.contains("1 passed"),
        "{output}"
    );
}

async fn check_that_tokens_are_not_logged() {
    let logs = Logs::default();
    let writer = logs.clone();
    let format = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(move || writer.clone());
    // The log of this test's own client does not count.
    let servers = Targets::new()
        .with_default(LevelFilter::TRACE)
        .with_target("reqwest", LevelFilter::OFF)
        .with_target("hyper_util::client", LevelFilter::OFF);
    let subscriber = tracing_subscriber::registry().with(format).with(servers);
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let engine = start().await;
    let deployment = ManualDeployment::start(&engine).await;
    let anonymous = engine.with_token(None);
    let signed = engine.signed("ada", Role::Admin);
    let (signed, wrong) = (signed.token().unwrap(), "wrong-token-in-the-query");
    for token in [API_TOKEN, signed] {
        let query = format!("access_token={token}");
        for hub in [DEPLOYMENTS, METRICS] {
            let path = format!("{hub}?{query}");
            HubClient::connect(&anonymous, &path)
                .await
                .assert_no_events()
                .await;
            let response = negotiate(&anonymous, hub, &format!("{query}&negotiateVersion=1")).await;
            let id = response["connectionToken"].as_str().unwrap();
            let path = format!("{hub}?id={id}&{query}");
            HubClient::connect(&anonymous, &path)
                .await
                .assert_no_events()
                .await;
        }
        for events in [EVENTS, &deployment.events_path()] {
            SseClient::open(&anonymous, &format!("{events}?{query}"), None).await;
            SocketClient::open(&anonymous, &format!("{events}/socket?{query}")).await;
        }
    }
    for path in [DEPLOYMENTS, METRICS, &format!("{EVENTS}/socket")] {
        let answer = rejected_upgrade(&anonymous, &format!("{path}?access_token={wrong}")).await;
        answer.problem(401, "unauthorized");
        // A token in the header wins, even an invalid one.
        let client = engine.with_token(Some(wrong));
        let answer = rejected_upgrade(&client, &format!("{path}?access_token={API_TOKEN}")).await;
        answer.problem(401, "unauthorized");
    }
    // Where browsers can set headers, tokens in the URL are rejected.
    let nodes = anonymous
        .get(&format!("/api/v1/nodes?access_token={signed}"))
        .await;
    nodes.problem(401, "unauthorized");
    let metrics = anonymous.get("/metrics").await.text();
    engine.stop().await;

    let logs = logs.text();
    for logged in [
        "/hubs/deployments/negotiate",
        "/hubs/metrics",
        "/api/v1/events/socket",
    ] {
        assert!(logs.contains(logged), "{logged} is not in {logs}");
    }
    for token in [API_TOKEN, signed, wrong] {
        assert!(!logs.contains(token), "{token} is in {logs}");
        assert!(!metrics.contains(token), "{token} is in {metrics}");
    }
}

/// The captured log.
#[derive(Clone, Default)]
struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
