//! Who may connect, who may hear what, and until when.

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

use super::hub::{DEPLOYMENTS, Hub, METRICS, STREAM, SUBSCRIBE, SUBSCRIBE_TO_ALL, negotiate};
use super::socket::{Socket, refused};
use super::sse::Sse;
use super::start;
use super::written::Written;
use crate::client::{API_TOKEN, Client};

const EVENTS: &str = "/api/v1/events";

async fn stream(client: &Client, path: &str) -> crate::client::Answer {
    let asked = |it: reqwest::RequestBuilder| it.header("accept", "text/event-stream");
    client.send(Method::GET, path, asked).await
}

#[tokio::test]
async fn without_a_token_that_does_nothing_is_opened() {
    let engine = start().await;
    let deployment = Written::begin(&engine).await;
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
            answers.push(refused(&client, hub).await);
        }
        for events in [EVENTS, &deployment.events()] {
            answers.push(stream(&client, events).await);
            answers.push(refused(&client, &format!("{events}/socket")).await);
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
async fn all_deployments_are_for_admins() {
    let engine = start().await;
    let deployment = Written::begin(&engine).await;
    for role in Role::ALL {
        let client = engine.signed("ada", role);
        let mut hub = Hub::connect(&client, DEPLOYMENTS).await;
        let all = hub.call(SUBSCRIBE_TO_ALL, json!([])).await;
        let socket = format!("{EVENTS}/socket");
        if role == Role::Admin {
            assert_eq!(all.unwrap()["recovered"], false);
            Sse::open(&client, EVENTS, None).await;
            Socket::open(&client, &socket).await;
        } else {
            let reason =
                "Failed to invoke 'SubscribeToAllDeployments' because user is unauthorized";
            assert_eq!(all, Err(reason.to_owned()));
            refused(&client, &socket).await.problem(403, "forbidden");
            stream(&client, EVENTS).await.problem(403, "forbidden");
        }
        // One deployment, and metrics, are for everybody.
        let answer = hub.call(SUBSCRIBE, deployment.argument()).await.unwrap();
        assert_eq!(answer["snapshot"]["executionId"], deployment.argument()[0]);
        let id = hub.stream(STREAM, deployment.argument()).await;
        assert_eq!(hub.item(&id).await.unwrap().argument, answer);
        let mut metrics = Hub::connect(&client, METRICS).await;
        let subscribed = metrics.call("SubscribeToMetrics", json!(["configured"]));
        assert_eq!(subscribed.await, Ok(Value::Null));
        let events = deployment.events();
        Sse::open(&client, &events, None).await;
        Socket::open(&client, &format!("{events}/socket")).await;
    }
    engine.stop().await;
}

#[tokio::test]
async fn whatever_goes_on_ends_with_its_token() {
    let engine = start().await;
    let deployment = Written::begin(&engine).await;
    let events = deployment.events();
    let soon = SystemClock.now() + Duration::from_secs(2);
    let client = engine.signed_until("ada", Role::Viewer, soon);
    // A fresh token of the same user prolongs what another one has negotiated.
    let offer = negotiate(&client, DEPLOYMENTS, "negotiateVersion=1").await;
    let path = format!(
        "{DEPLOYMENTS}?id={}",
        offer["connectionToken"].as_str().unwrap()
    );
    let mut fresh = Hub::connect(&engine.signed("ada", Role::Viewer), &path).await;

    let mut hub = Hub::connect(&client, DEPLOYMENTS).await;
    hub.call(SUBSCRIBE, deployment.argument()).await.unwrap();
    let metrics = Hub::negotiated(&client, METRICS).await;
    let sse = Sse::open(&client, &events, None).await;
    let socket = Socket::open(&client, &format!("{events}/socket")).await;
    for (told, close, code) in [hub.rest().await, metrics.rest().await] {
        // Back at once: the client fetches a fresh one.
        let close = (&close["error"], &close["allowReconnect"], code);
        let expected = json!("The token has expired.");
        assert_eq!(
            (told, close),
            (vec![], (&expected, &json!(true), Some(1000)))
        );
    }
    let told = sse.rest().await.into_iter().map(|block| block.name);
    assert_eq!(told.collect::<Vec<_>>(), ["message", "live"]);
    let (messages, code) = socket.rest().await;
    assert_eq!((messages.len(), code), (2, Some(1008)));
    for path in [DEPLOYMENTS, &format!("{events}/socket")] {
        refused(&client, path).await.problem(401, "token-expired");
    }
    fresh.hears_nothing().await;
    engine.stop().await;
}

/// Set in the process that this test starts.
const ALONE: &str = "HOTSWAP_TESTS_ALONE";

/// In a process of its own: what is logged in another test at the same time is none of
/// this one's, and the level is one for the whole process.
#[test]
fn a_token_in_the_url_opens_what_browsers_open_and_is_in_no_log() {
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(in_no_log());
    }
    let name = "live::authorisation::a_token_in_the_url_opens_what_browsers_open_and_is_in_no_log";
    let alone = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&alone.stdout);
    assert!(
        alone.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

async fn in_no_log() {
    let logs = Logs::default();
    let writer = logs.clone();
    let format = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(move || writer.clone());
    // What the client of this test says to itself is no log of the server.
    let servers = Targets::new()
        .with_default(LevelFilter::TRACE)
        .with_target("reqwest", LevelFilter::OFF)
        .with_target("hyper_util::client", LevelFilter::OFF);
    let subscriber = tracing_subscriber::registry().with(format).with(servers);
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let engine = start().await;
    let deployment = Written::begin(&engine).await;
    let open = engine.with_token(None);
    let signed = engine.signed("ada", Role::Admin);
    let (signed, wrong) = (signed.token().unwrap(), "wrong-token-in-the-query");
    for token in [API_TOKEN, signed] {
        let query = format!("access_token={token}");
        for hub in [DEPLOYMENTS, METRICS] {
            let path = format!("{hub}?{query}");
            Hub::connect(&open, &path).await.hears_nothing().await;
            let offer = negotiate(&open, hub, &format!("{query}&negotiateVersion=1")).await;
            let id = offer["connectionToken"].as_str().unwrap();
            let path = format!("{hub}?id={id}&{query}");
            Hub::connect(&open, &path).await.hears_nothing().await;
        }
        for events in [EVENTS, &deployment.events()] {
            Sse::open(&open, &format!("{events}?{query}"), None).await;
            Socket::open(&open, &format!("{events}/socket?{query}")).await;
        }
    }
    for path in [DEPLOYMENTS, METRICS, &format!("{EVENTS}/socket")] {
        let answer = refused(&open, &format!("{path}?access_token={wrong}")).await;
        answer.problem(401, "unauthorized");
        // What stands in the header counts, be it wrong.
        let client = engine.with_token(Some(wrong));
        let answer = refused(&client, &format!("{path}?access_token={API_TOKEN}")).await;
        answer.problem(401, "unauthorized");
    }
    // Nor is one taken where browsers can set headers.
    let nodes = open
        .get(&format!("/api/v1/nodes?access_token={signed}"))
        .await;
    nodes.problem(401, "unauthorized");
    let metrics = open.get("/metrics").await.text();
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

/// What is logged.
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
