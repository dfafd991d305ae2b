//! Journals of sample deployments, for tests.

use hotswap_core::{Event, EventBody, Timestamp};
use serde_json::{Value, json};

/// 16:02:00 UTC.
const START: u64 = 1_795_449_720_000;

/// The time this many milliseconds after the request.
pub fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

/// Events with these bodies, each with its time after the request in milliseconds.
pub fn journal(bodies: &[(u64, Value)]) -> Vec<Event> {
    let event = |(seq, (millis, body)): (usize, &(u64, Value))| Event {
        seq: seq as u64,
        position: 10 + seq as u64,
        at: at(*millis),
        body: serde_json::from_value::<EventBody>(body.clone()).expect("a body of an event"),
    };
    bodies.iter().enumerate().map(event).collect()
}

/// The first event: hello 2.0.0 to production by canary.
pub fn requested() -> Value {
    let digest = format!("sha256:{}", "ab".repeat(32));
    json!({"type": "requested", "data": {
        "id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "module": {"name": "hello", "version": "2.0.0", "digest": digest},
        "environment": "production",
        "strategy": {"name": "canary", "version": "0.1.0", "digest": digest, "wit": "0.1.0"},
        "config": {},
        "policy": {"defaultStrategy": "canary", "maxUnavailable": "50%", "toleratedFailures": 0,
            "deadline": 86_400_000, "revertPatience": 60_000},
        "requester": {"email": "ada@example.org", "subject": "api-token"},
    }})
}

/// Four nodes that run 1.0.0.
pub fn planned() -> Value {
    let digest = format!("sha256:{}", "cd".repeat(32));
    let node = |id: u32| {
        json!({"id": format!("prod-{id}"), "zone": "a", "health": "passing",
            "active": {"name": "hello", "version": "1.0.0", "digest": digest}})
    };
    json!({"type": "planned", "data": {"nodes": [node(1), node(2), node(3), node(4)]}})
}

/// A call of the strategy.
pub fn called(call: u32, request: Value) -> Value {
    json!({"type": "called", "data": {"call": call, "request": request}})
}

/// A call that waits until this many milliseconds after the request.
pub fn called_until(call: u32, request: Value, until: u64) -> Value {
    json!({"type": "called", "data": {"call": call, "request": request, "due": START + until}})
}

/// The answer to a call.
pub fn answered(call: u32, answer: Value) -> Value {
    json!({"type": "answered", "data": {"call": call, "answer": answer}})
}

/// A stage that the strategy reports.
pub fn stage(call: u32, name: &str, percent: u8) -> Value {
    called(
        call,
        json!({"call": "progress", "arguments": {"stage": name, "percent": percent}}),
    )
}

/// An operation on nodes that succeeds on all of them.
pub fn operation(call: u32, name: &str, nodes: &[&str]) -> [Value; 2] {
    [
        called(call, json!({"call": name, "arguments": {"nodes": nodes}})),
        answered(call, json!({"answer": "nodewise", "value": []})),
    ]
}

/// A finding of a soak.
pub fn finding(metric: &str, judgement: &str, reason: &str) -> Value {
    json!({"check": {"metric": metric}, "judgement": judgement, "canarySamples": 100,
        "baselineSamples": 300, "reason": reason})
}

/// A canary in the middle of its first soak.
pub fn soaking() -> Vec<(u64, Value)> {
    let [staging, staged] = operation(1, "stage", &["prod-1"]);
    let [promoting, promoted] = operation(2, "promote", &["prod-1"]);
    let soak = json!({"call": "soak", "arguments": {"window": 10_000, "canary": ["prod-1"],
        "baseline": ["prod-2", "prod-3", "prod-4"], "checks": []}});
    vec![
        (0, requested()),
        (10, planned()),
        (20, stage(0, "canary 10 %", 0)),
        (30, staging),
        (400, staged),
        (410, promoting),
        (420, promoted),
        (1000, called_until(3, soak, 11_000)),
    ]
}

/// The same canary, rolled back because a check failed.
pub fn rolled_back() -> Vec<(u64, Value)> {
    let mut bodies = soaking();
    let findings = [
        finding(
            "error-rate",
            "fail",
            "9.8 % of 102 requests failed, against 0 % of 305",
        ),
        finding("latency-p95", "pass", "3 ms against 3 ms"),
    ];
    let verdict =
        json!({"answer": "verdict", "value": {"judgement": "fail", "findings": findings}});
    bodies.push((6000, answered(3, verdict)));
    let message = "check error-rate failed: 9.8 % of 102 requests failed, against 0 % of 305";
    let cause = json!({"kind": "strategy", "message": message});
    bodies.push((6010, json!({"type": "reverting", "data": {"cause": cause}})));
    bodies.push((
        6100,
        json!({"type": "ended", "data": {"outcome": "rolledBack"}}),
    ));
    bodies
}

/// A deployment that waits for a decision before it switches.
pub fn awaiting_approval() -> Vec<(u64, Value)> {
    let [staging, staged] = operation(1, "stage", &["prod-1", "prod-2", "prod-3", "prod-4"]);
    let approval = json!({"call": "approval", "arguments":
        {"prompt": "switch 4 nodes to hello 2.0.0?\u{1b}[2J", "timeout": 3_600_000}});
    vec![
        (0, requested()),
        (10, planned()),
        (20, stage(0, "approval", 50)),
        (30, staging),
        (400, staged),
        (500, called_until(2, approval, 3_600_500)),
    ]
}
