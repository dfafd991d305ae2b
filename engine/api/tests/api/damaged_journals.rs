//! Journals that this engine cannot read: their deployments are shown as damaged, they are in
//! nobody's way, and an admin can terminate them.

use std::time::{Duration, Instant};

use hotswap_api::Role;
use hotswap_core::SCHEMA_VERSION;
use hotswap_store::Journal as _;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::fixture::{Fixture, deployment};
use crate::live::support::{
    COMPLETED, DEPLOYMENTS, FAILED, HubClient, SUBSCRIBE, SocketClient, SseClient,
};

/// A way in which a journal is damaged.
struct Kind {
    /// The module whose deployment has it.
    module: &'static str,
    /// Changes the deployment with the number `?1`.
    sql: String,
    /// The event that cannot be read.
    seq: u64,
    /// Part of the reason.
    reason: &'static str,
    needs_upgrade: bool,
    /// How the deployment ends when it is terminated.
    end: &'static str,
}

impl Kind {
    fn new(module: &'static str, sql: &str, seq: u64, reason: &'static str) -> Self {
        Self {
            module,
            sql: sql.to_owned(),
            seq,
            reason,
            needs_upgrade: false,
            end: "rolledBack",
        }
    }

    /// Event `seq` becomes `body`.
    fn event(module: &'static str, seq: u64, body: &Value, reason: &'static str) -> Self {
        let sql = format!(
            "UPDATE event SET body = CAST('{body}' AS BLOB) WHERE deployment = ?1 AND seq = {seq}"
        );
        Self::new(module, &sql, seq, reason)
    }

    fn newer(self) -> Self {
        Self {
            needs_upgrade: true,
            ..self
        }
    }

    fn tamper(&self, database: &Connection) {
        let number = "SELECT max(number) FROM deployment WHERE module = ?1";
        let number: i64 = database
            .query_row(number, [self.module], |row| row.get(0))
            .unwrap();
        assert!(database.execute(&self.sql, [number]).unwrap() > 0);
    }
}

/// All kinds. Event 3 is the intent to stage the version on the first node.
fn kinds() -> Vec<Kind> {
    let unparsable = "UPDATE event SET body = CAST('{\"schema\":2,\"type' AS BLOB)
        WHERE deployment = ?1 AND seq = 3";
    let newer = json!({"schema": SCHEMA_VERSION + 1, "type": "split", "data": {}});
    let unknown = json!({"schema": SCHEMA_VERSION, "type": "split", "data": {}});
    let illegal = json!({"schema": SCHEMA_VERSION, "type": "resumed", "data": {"by": "ada"}});
    let missing = "DELETE FROM event WHERE deployment = ?1 AND seq = 3";
    let missing_request = "DELETE FROM event WHERE deployment = ?1 AND seq = 0";
    vec![
        Kind::new("unparsable", unparsable, 3, "not a valid event"),
        Kind::event("newer", 3, &newer, "start the newer engine").newer(),
        Kind::event("unknown", 3, &unknown, "'split'").newer(),
        Kind::event("illegal", 3, &illegal, "cannot follow"),
        Kind::new("missing", missing, 3, "missing"),
        Kind::event("request", 0, &json!("?"), "not a valid event"),
        Kind::new("no-request", missing_request, 0, "missing"),
        Kind {
            end: "failed",
            ..Kind::event("plan", 1, &json!({}), "not a valid event")
        },
    ]
}

/// An engine whose store holds a damaged deployment of each kind, in the middle of a rollout of
/// 2.0.0 over 1.0.0. Returns the ids with the kinds.
async fn damaged() -> (Fixture, Vec<(Kind, String)>) {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let mut deployments = Vec::new();
    for kind in kinds() {
        begin_rollout(&engine, kind.module).await;
        let id = rolling(&engine, kind.module).await;
        deployments.push((kind, id));
    }
    let engine = engine
        .restart_after(|database| {
            for (kind, _) in &deployments {
                kind.tamper(database);
            }
        })
        .await;
    engine.node_in("qa", "node-1").await;
    engine.node_in("qa", "node-2").await;
    (engine, deployments)
}

/// Rolls out version 1.0.0 of a new module, and uploads 2.0.0.
async fn begin_rollout(engine: &Fixture, module: &str) {
    engine.push(module, "1.0.0", hotswap_guests::HELLO_V1).await;
    engine.push(module, "2.0.0", hotswap_guests::HELLO_V2).await;
    let first = json!({"moduleName": module, "version": "1.0.0"});
    let ended = engine.ended(&engine.deploy(first).await).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
}

/// Rolls out version 2.0.0 to the first of two nodes. The deployment waits before the second.
async fn rolling(engine: &Fixture, module: &str) -> String {
    let second = json!({
        "moduleName": module,
        "version": "2.0.0",
        "strategy": "rolling",
        "config": {"batch": 1, "settle": "1h"},
    });
    let id = engine.deploy(second).await;
    engine
        .until(&id, |state| state["waitingUntil"].is_u64())
        .await;
    id
}

fn path(id: &str) -> String {
    format!("/api/v1/deployments/{id}")
}

/// Waits until the metrics show this number of damaged deployments.
async fn expect_damaged(engine: &Fixture, count: usize) {
    expect_metric(engine, &format!("hotswap_deployments_damaged {count}")).await;
}

/// Waits until the metrics have this line.
async fn expect_metric(engine: &Fixture, line: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let text = engine.get("/metrics").await.text();
        if text.lines().any(|one| one == line) {
            return;
        }
        assert!(Instant::now() < deadline, "{line} is not in {text}");
    }
}

fn assert_damage(damage: &Value, kind: &Kind) {
    assert_eq!(damage["seq"], kind.seq, "{}: {damage}", kind.module);
    assert!(
        damage["position"].is_u64() || kind.reason == "missing",
        "{damage}"
    );
    let reason = damage["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(kind.reason), "{}: {damage}", kind.module);
    assert_eq!(damage["needsUpgrade"], kind.needs_upgrade, "{damage}");
}

#[tokio::test]
async fn a_damaged_deployment_is_shown_with_its_place_and_everything_else_works() {
    let (engine, deployments) = damaged().await;
    let page = engine.get("/api/v1/deployments?limit=200").await.ok();
    let rows = page["deployments"].as_array().unwrap();
    for (kind, id) in &deployments {
        let row = rows.iter().find(|row| row["executionId"] == **id).unwrap();
        assert_damage(&row["damage"], kind);
        let state = engine.get(&path(id)).await.ok();
        assert_damage(&state["damage"], kind);
        assert_eq!(state["moduleName"], kind.module);
        assert_eq!(state["status"], "running", "{state}");
        // What was read before the damage is there.
        let is_request_known = kind.seq > 0;
        assert_eq!(state["version"] == "2.0.0", is_request_known, "{state}");

        let events = engine.get(&format!("{}/events", path(id))).await.ok();
        let read = events["events"].as_array().unwrap().len() as u64;
        assert_eq!(read, kind.seq);
        assert_damage(&events["damage"], kind);
        let after = format!("{}/events?after={}", path(id), kind.seq);
        let later = engine.get(&after).await.ok();
        assert_eq!(later["events"][0]["seq"], kind.seq + 1, "{later}");

        let abort = engine.post(&format!("{}/abort", path(id)), json!({})).await;
        let problem = abort.problem(409, "damaged-journal");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("terminate"), "{detail}");
        let again = deployment(json!({"moduleName": kind.module}));
        let again = engine.post("/api/v1/deployments", again).await;
        let problem = again.problem(409, "deployment-running");
        assert_eq!(problem["deployment"], **id);
    }
    for path in ["/api/v1/clusters/qa", "/metrics", "/health/ready"] {
        assert_eq!(engine.get(path).await.status, 200, "{path}");
    }
    // Another deployment starts, runs and ends.
    let ended = engine.ended(&engine.deploy(json!({})).await).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    engine.stop().await;
}

#[tokio::test]
async fn live_feeds_of_both_kinds_go_on_past_the_damage() {
    let (engine, deployments) = damaged().await;
    let mut all = HubClient::subscribed_to_all(&engine).await;
    let epoch = engine.store.epoch();
    for (kind, id) in &deployments {
        let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
        let subscription = hub.invoke(SUBSCRIBE, json!([id])).await.unwrap();
        assert_damage(&subscription["snapshot"]["damage"], kind);

        let events = format!("{}/events", path(id));
        let mut sse = SseClient::open(&engine, &events, None).await;
        let mut socket = SocketClient::open(&engine, &format!("{events}/socket")).await;
        let mut names = Vec::new();
        while names.last().is_none_or(|name| name != "live") {
            let event = sse.event().await.unwrap();
            let message = socket.message().await.unwrap();
            if event.name == "damaged" {
                assert_damage(&event.data, kind);
                assert_damage(&message["damaged"], kind);
            }
            names.push(event.name);
        }
        let has_damage = names.iter().any(|name| name == "damaged");
        assert!(has_damage, "{}", kind.module);
        // What comes after the damage is sent, too.
        assert_eq!(names[names.len() - 2], "message", "{names:?}");
    }
    let mut tail = SseClient::open(&engine, "/api/v1/events", Some(&format!("{epoch}:0"))).await;
    let id = engine.deploy(json!({})).await;
    let completed = all.events_until(COMPLETED).await;
    let last = completed.last().unwrap();
    assert_eq!(last.argument["executionId"], *id);
    let mut damaged = 0;
    loop {
        let event = tail.event().await.unwrap();
        damaged += usize::from(event.name == "damaged");
        if event.data["executionId"] == *id && event.data["body"]["type"] == "ended" {
            break;
        }
    }
    // All but the missing events.
    assert_eq!(damaged, deployments.len() - 2);
    engine.stop().await;
}

#[tokio::test]
async fn an_admin_terminates_a_damaged_deployment_and_its_nodes_are_reverted() {
    let (engine, deployments) = damaged().await;
    let mut left = deployments.len();
    expect_damaged(&engine, left).await;
    for (kind, id) in &deployments {
        assert_eq!(engine.active("node-1", kind.module).unwrap(), "2.0.0");
        let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
        hub.invoke(SUBSCRIBE, json!([id])).await.unwrap();
        let events = format!("{}/events", path(id));
        let sse = SseClient::open(&engine, &events, None).await;

        let terminate = format!("{}/terminate", path(id));
        let operator = engine.signed("olga", Role::Operator);
        let rejected = operator.post(&terminate, json!({})).await;
        rejected.problem(403, "forbidden");
        let admin = engine.signed("ada", Role::Admin);
        let reason = json!({"reason": "the disk was torn"});
        admin.post(&terminate, reason).await.ok();

        let streamed = sse.until_closed().await;
        assert_eq!(streamed.last().unwrap().name, "end", "{}", kind.module);
        let request = streamed
            .iter()
            .find(|event| event.data["body"]["type"] == "terminationRequested");
        let audit = &request.unwrap().data["body"]["data"];
        assert_eq!(*audit, json!({"by": "ada", "reason": "the disk was torn"}));
        hub.events_until(FAILED).await;

        let state = engine.get(&path(id)).await.ok();
        assert_eq!(state["status"], kind.end, "{state}");
        assert!(state["endedAt"].is_u64(), "{state}");
        let cause = state["cause"]["message"].as_str().unwrap();
        assert_eq!(cause, "terminated by ada: the disk was torn");
        assert_damage(&state["damage"], kind);
        if kind.end == "rolledBack" {
            for node in ["node-1", "node-2"] {
                assert_eq!(engine.active(node, kind.module).unwrap(), "1.0.0");
            }
        } else {
            // Without the plan it is unknown what the nodes ran before.
            assert_eq!(state["failures"][0]["node"], "node-1", "{state}");
        }
        let again = admin.post(&terminate, json!({})).await;
        again.problem(409, "illegal-state");
        left -= 1;
        expect_damaged(&engine, left).await;
        let next = json!({"moduleName": kind.module, "version": "1.0.0"});
        let next = engine.ended(&engine.deploy(next).await).await;
        assert_eq!(next["status"], "succeeded", "{next}");
    }
    engine.stop().await;
}

#[tokio::test]
async fn a_deployment_that_can_be_read_cannot_be_terminated() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let id = engine.deploy(json!({"requireApproval": true})).await;
    engine.asking(&id).await;
    let terminate = format!("{}/terminate", path(&id));
    let problem = engine.post(&terminate, json!({})).await;
    let problem = problem.problem(409, "illegal-state");
    assert!(
        problem["detail"].as_str().unwrap().contains("abort"),
        "{problem}"
    );
    engine.stop().await;
}

/// The lifecycle beside a journal follows from its events, so nothing is lost with it.
#[tokio::test]
async fn a_damaged_row_of_the_deployment_is_restored_from_its_events() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    begin_rollout(&engine, "head").await;
    let id = rolling(&engine, "head").await;
    let engine = engine
        .restart_after(|database| {
            let sql = "UPDATE deployment SET lifecycle = '{', status = '?' WHERE ended = 0";
            assert_eq!(database.execute(sql, []).unwrap(), 1);
        })
        .await;
    let state = engine.get(&path(&id)).await.ok();
    assert_eq!(state["status"], "running", "{state}");
    assert!(state.get("damage").is_none(), "{state}");
    engine
        .post(&format!("{}/abort", path(&id)), json!({}))
        .await
        .ok();
    let ended = engine.ended(&id).await;
    assert_eq!(ended["status"], "rolledBack", "{ended}");
    engine.stop().await;
}

/// After a downgrade, what the newer engine wrote waits for it.
#[tokio::test]
async fn a_deployment_of_a_newer_engine_continues_when_that_engine_runs_again() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    begin_rollout(&engine, "newer").await;
    let id = rolling(&engine, "newer").await;
    let replace = |from: u32, to: u32| {
        format!(
            "UPDATE event SET body = CAST(replace(CAST(body AS TEXT), '\"schema\":{from},', \
             '\"schema\":{to},') AS BLOB) WHERE seq = 3 AND deployment = \
             (SELECT max(number) FROM deployment)"
        )
    };
    let newer = SCHEMA_VERSION + 1;
    let tamper = replace(SCHEMA_VERSION, newer);
    let engine = engine
        .restart_after(|database| assert_eq!(database.execute(&tamper, []).unwrap(), 1))
        .await;
    let state = engine.get(&path(&id)).await.ok();
    assert_eq!(state["damage"]["needsUpgrade"], true, "{state}");

    let restore = replace(newer, SCHEMA_VERSION);
    let engine = engine
        .restart_after(|database| assert_eq!(database.execute(&restore, []).unwrap(), 1))
        .await;
    let state = engine.get(&path(&id)).await.ok();
    assert!(state.get("damage").is_none(), "{state}");
    engine
        .post(&format!("{}/abort", path(&id)), json!({}))
        .await
        .ok();
    let ended = engine.ended(&id).await;
    assert_eq!(ended["status"], "rolledBack", "{ended}");
    engine.stop().await;
}

/// A torn event of an environment, and one of a newer engine, with a part of the reason.
const UNREADABLE: [(&str, &str); 2] = [
    (r#"{"schema":4,"ty"#, "not a valid event"),
    (
        r#"{"schema":99,"type":"split","data":{}}"#,
        "start the newer engine",
    ),
];

/// Replaces the event to which a table with a position refers.
fn tamper_kept(database: &Connection, table: &str, body: &str) {
    let sql = format!(
        "UPDATE environment_event SET body = CAST(?1 AS BLOB)
        WHERE position = (SELECT position FROM {table})"
    );
    assert_eq!(database.execute(&sql, [body]).unwrap(), 1);
}

#[tokio::test]
async fn a_node_whose_cordon_cannot_be_read_stays_out_until_it_is_uncordoned() {
    for (body, reason) in UNREADABLE {
        let engine = Fixture::start().await;
        engine.furnish().await;
        // One more may be unavailable then.
        engine.node_in("qa", "node-3").await;
        let node = "/api/v1/nodes/node-1";
        engine.post(&format!("{node}/drain"), json!({})).await.ok();
        let engine = engine
            .restart_after(|database| tamper_kept(database, "cordon", body))
            .await;
        for node in ["node-1", "node-2", "node-3"] {
            engine.node_in("qa", node).await;
        }
        expect_metric(&engine, "hotswap_environment_events_damaged 1").await;
        let cordon = &engine.get(node).await.ok()["cordon"];
        assert_eq!(cordon["drained"], true, "{cordon}");
        let told = cordon["reason"].as_str().unwrap();
        assert!(told.contains("cannot be read") && told.contains(reason));
        let listed = engine.get("/api/v1/nodes").await.ok();
        assert_eq!(&listed["nodes"][0]["cordon"], cordon);
        let ended = engine.ended(&engine.deploy(json!({})).await).await;
        assert_eq!(ended["status"], "succeeded", "{ended}");
        assert_eq!(ended["cordoned"][0]["node"], "node-1", "{ended}");
        assert_eq!(engine.active("node-1", "hello"), None);

        let uncordon = format!("{node}/uncordon");
        let node = engine.post(&uncordon, json!({})).await.ok();
        assert_eq!(node["cordon"], Value::Null);
        expect_metric(&engine, "hotswap_environment_events_damaged 0").await;
        engine.stop().await;
    }
}

#[tokio::test]
async fn no_deployment_begins_under_another_policy_than_the_one_that_cannot_be_read() {
    const QA: &str = "/api/v1/environments/qa";
    for (body, reason) in UNREADABLE {
        let engine = Fixture::start().await;
        engine.furnish().await;
        let policy = json!({"policy": {"maxUnavailable": "1", "deadline": 90_000}});
        let set = engine.client.put(QA, policy.clone()).await;
        let etag = set.header("etag").to_owned();
        set.ok();
        let engine = engine
            .restart_after(|database| tamper_kept(database, "policy", body))
            .await;
        engine.node_in("qa", "node-1").await;
        engine.node_in("qa", "node-2").await;
        expect_metric(&engine, "hotswap_environment_events_damaged 1").await;
        let shown = engine.get(QA).await;
        assert_eq!(shown.header("etag"), etag);
        let shown = shown.ok();
        assert_eq!(shown["source"], "unreadable", "{shown}");
        let damage = shown["damage"].as_str().unwrap();
        let place = format!("position {} in the store", etag.trim_matches('"'));
        assert!(damage.contains(reason) && damage.contains(&place));
        for path in ["/api/v1/deployments", "/api/v1/deployments/plan"] {
            let refused = engine.post(path, deployment(json!({}))).await;
            let problem = refused.problem(409, "unreadable-policy");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(damage), "{detail}");
        }
        // Both ways out.
        let source = if reason.contains("newer") {
            let body = json!({"policy": policy["policy"]});
            let set = engine.client.put(QA, body).await.ok();
            assert_eq!(set["policy"]["deadline"], 90_000, "{set}");
            "api"
        } else {
            engine.delete(QA).await.ok();
            "default"
        };
        let ended = engine.ended(&engine.deploy(json!({})).await).await;
        assert_eq!(ended["status"], "succeeded", "{ended}");
        let engine = engine.restart_after(|_| {}).await;
        let shown = engine.get(QA).await.ok();
        assert_eq!(shown["source"], source, "{shown}");
        assert_eq!(shown["damage"], Value::Null, "{shown}");
        engine.stop().await;
    }
}
