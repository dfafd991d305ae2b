//! Nodes that people cordon, drain and forget, as the API shows them, and the events of an
//! environment as a stream.

use hotswap_api::Role;
use hotswap_store::Journal as _;
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::live::support::{DEPLOYMENTS, HubClient, SUBSCRIBE_TO_ALL, SseClient, SseEvent};

const CLUSTER: &str = "/api/v1/clusters/qa";
const EVENTS: &str = "/api/v1/clusters/qa/events";
const NODE: &str = "/api/v1/nodes/node-1";

fn verb(name: &str) -> String {
    format!("{NODE}/{name}")
}

async fn messages(engine: &Fixture) -> Vec<Value> {
    let events = engine.get(EVENTS).await.ok();
    let events = events["events"].as_array().unwrap();
    let messages = events.iter().map(|event| event["message"].clone());
    messages.collect()
}

#[tokio::test]
async fn a_cordon_is_shown_everywhere_until_it_ends() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
    hub.invoke(SUBSCRIBE_TO_ALL, json!([])).await.unwrap();
    let eve = engine.signed("eve", Role::Operator);
    let reason = json!({ "reason": "its disk is replaced" });
    let node = eve.post(&verb("cordon"), reason).await.ok();
    let cordon = &node["cordon"];
    assert_eq!(cordon["by"], "eve");
    assert_eq!(cordon["reason"], "its disk is replaced");
    assert_eq!(cordon["drained"], false);
    assert!(cordon["since"].is_u64());
    let cluster = engine.get(CLUSTER).await.ok();
    assert_eq!(&cluster["nodes"][0]["cordon"], cordon);
    assert_eq!(cluster["nodes"][1]["cordon"], Value::Null);
    let all = engine.get("/api/v1/nodes").await.ok();
    assert_eq!(&all["nodes"][0]["cordon"], cordon);
    let told = &hub.events(1).await[0];
    assert_eq!(told.target, "EnvironmentChanged");
    assert_eq!(told.argument["type"], "cordoned");
    assert_eq!(told.argument["nodeId"], "node-1");
    assert_eq!(told.argument["by"], "eve");
    assert_eq!(told.argument["moduleName"], Value::Null);

    // A plan leaves it out. What it should run waits.
    let id = engine.deploy(json!({})).await;
    let ended = engine.ended(&id).await;
    assert_eq!(ended["status"], "succeeded");
    assert_eq!(ended["cordoned"][0]["node"], "node-1");
    assert_eq!(ended["cordoned"][0]["by"], "eve");
    assert_eq!(ended["nodes"].as_array().unwrap().len(), 1);
    let module = &engine.get(NODE).await.ok()["modules"][0];
    assert_eq!(module["state"], "cordoned");
    assert_eq!(
        module["reason"],
        "it runs no version and should run 1.0.0; it was cordoned by eve: its disk is replaced"
    );
    // Whoever repeats it changes nothing.
    let again = engine.post(&verb("cordon"), json!({})).await.ok();
    assert_eq!(again["cordon"]["by"], "eve");

    let node = engine.post(&verb("uncordon"), json!({})).await.ok();
    assert_eq!(node["cordon"], Value::Null);
    engine.post(&verb("uncordon"), json!({})).await.ok();
    let expected = [
        json!("node-1 was uncordoned by api-token"),
        json!("node-1 was cordoned by eve: its disk is replaced"),
    ];
    let messages = messages(&engine).await;
    let of_people = messages.iter().filter(|message| expected.contains(message));
    assert_eq!(
        of_people.collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
    let viewer = engine.signed("vera", Role::Viewer);
    for name in ["cordon", "drain", "uncordon"] {
        viewer
            .post(&verb(name), json!({}))
            .await
            .problem(403, "forbidden");
    }
    engine.stop().await;
}

#[tokio::test]
async fn a_drain_beyond_max_unavailable_is_a_conflict() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let drained = engine.post(&verb("drain"), json!({})).await.ok();
    assert_eq!(drained["cordon"]["drained"], true);
    let other = "/api/v1/nodes/node-2/drain";
    let problem = engine.post(other, json!({})).await;
    let problem = problem.problem(409, "too-many-unavailable");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("1 of 2 nodes of qa are unavailable (node-1)"),
        "{detail}"
    );
    assert!(detail.contains("force: true"), "{detail}");
    // A cordon takes nothing away.
    engine
        .post("/api/v1/nodes/node-2/cordon", json!({}))
        .await
        .ok();
    let forced = engine.post(other, json!({ "force": true })).await.ok();
    assert_eq!(forced["cordon"]["drained"], true);
    // A node is told, and says what it made of it.
    let node = engine.node();
    let beat = verb("heartbeat");
    let told = node.post(&beat, json!({ "health": "passing" })).await.ok();
    assert_eq!(
        told["cordon"],
        json!({ "drained": true, "reason": "drained by api-token" })
    );
    let readiness = json!({ "ready": false, "reason": "drained", "inFlight": 3 });
    let report = json!({ "health": "passing", "readiness": readiness });
    node.post(&beat, report).await.ok();
    let node = engine.get(NODE).await.ok();
    assert_eq!(node["ready"], false);
    assert_eq!(node["unreadyReason"], "drained");
    assert_eq!(node["inFlight"], 3);
    engine.stop().await;
}

#[tokio::test]
async fn a_forgotten_node_is_gone_with_its_cordon_and_that_is_told() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    engine.post(&verb("drain"), json!({})).await.ok();
    let body = json!({ "reason": "scrapped" }).to_string();
    let forgotten = engine.send(reqwest::Method::DELETE, NODE, |it| {
        it.header("content-type", "application/json").body(body)
    });
    assert_eq!(forgotten.await.status, 204);
    engine.get(NODE).await.problem(404, "unknown-node");
    let last = &messages(&engine).await[0];
    assert_eq!(last, "node-1 was forgotten by api-token: scrapped");
    engine.node_in("qa", "node-1").await;
    assert_eq!(engine.get(NODE).await.ok()["cordon"], Value::Null);
    engine.stop().await;
}

async fn next_message(stream: &mut SseClient) -> SseEvent {
    let event = stream.event().await.expect("the stream goes on");
    assert_eq!(event.name, "message", "{event:?}");
    event
}

#[tokio::test]
async fn a_stream_of_an_environment_begins_with_its_last_events_and_resumes() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    engine.node_in("elsewhere", "other").await;
    for name in ["cordon", "drain", "uncordon"] {
        engine.post(&verb(name), json!({})).await.ok();
    }
    let mut stream = SseClient::open(&engine, &format!("{EVENTS}?limit=2"), None).await;
    let drained = next_message(&mut stream).await;
    assert_eq!(drained.data["type"], "drained");
    assert_eq!(next_message(&mut stream).await.data["type"], "uncordoned");
    assert_eq!(stream.event().await.unwrap().name, "live");
    // What happens elsewhere is not sent.
    let elsewhere = "/api/v1/nodes/other/cordon";
    engine.post(elsewhere, json!({})).await.ok();
    engine.post(&verb("cordon"), json!({})).await.ok();
    let cordoned = next_message(&mut stream).await;
    assert_eq!(cordoned.data["type"], "cordoned");
    assert_eq!(cordoned.data["environment"], "qa");
    let page = engine.get(EVENTS).await.ok();
    assert_eq!(page["events"][0], cordoned.data);

    let mut resumed = SseClient::open(&engine, EVENTS, drained.id.as_deref()).await;
    assert_eq!(next_message(&mut resumed).await.data["type"], "uncordoned");
    assert_eq!(next_message(&mut resumed).await, cordoned);
    assert_eq!(resumed.event().await.unwrap().name, "live");
    let mut reset = SseClient::open(&engine, EVENTS, Some("0123:7")).await;
    assert_eq!(reset.event().await.unwrap().name, "reset");
    assert_eq!(next_message(&mut reset).await.data["type"], "cordoned");
    engine.stop().await;
}

#[tokio::test]
async fn a_stream_of_an_environment_is_reset_only_if_events_are_missing() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    engine.post(&verb("cordon"), json!({})).await.ok();
    engine.post(&verb("drain"), json!({})).await.ok();
    let mut stream = SseClient::open(&engine, EVENTS, None).await;
    let first = next_message(&mut stream).await;
    // Old journals are deleted: the first event, and a deployment that came after both.
    let id = engine.deploy(json!({})).await;
    engine.ended(&id).await;
    let id = engine.deploy(json!({})).await;
    engine.ended(&id).await;
    let first_deployment = engine.get("/api/v1/deployments").await.ok();
    let oldest = first_deployment["deployments"][1]["executionId"].clone();
    let path = format!("/api/v1/deployments/{}", oldest.as_str().unwrap());
    assert_eq!(engine.delete(&path).await.status, 204);
    assert!(engine.store.deleted_through().await.unwrap() > 0);
    let mut fresh = SseClient::open(&engine, EVENTS, None).await;
    assert_eq!(
        next_message(&mut fresh).await,
        first,
        "nothing is missing in it"
    );
    let mut resumed = SseClient::open(&engine, EVENTS, first.id.as_deref()).await;
    assert_eq!(resumed.event().await.unwrap().name, "reset");
    assert_eq!(next_message(&mut resumed).await, first);
    engine.stop().await;
}
