//! A node uses poem's JSON conversion and the engine uses serde. Both must write the same
//! JSON, and each must read what the other writes.

use std::fmt::Debug;

use hotswap_protocol::{
    Action, Bucket, ClientFaults, Cordon, DesiredVersion, Heartbeat, HeartbeatAnswer, Identity,
    Lifetime, LoadPhase, ModuleMetric, ModuleReport, ModuleStatus, NodeHealth, NodeStatus,
    OrderProgress, OrderRequest, PollAnswer, PollRequest, ProbeAnswer, ProbeRequest, Promote,
    Readiness, Registered, Registration, Restart, Revert, Settle, Shift, Slot, SlotFault, Stage,
    Starts, Traffic, Version, VersionStatus,
};
use poem_openapi::types::{ParseFromJSON, ToJSON};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Asserts that `value` is `wire` in poem and serde, written and read.
fn assert_same_json<T>(value: &T, wire: &Value)
where
    T: ToJSON + ParseFromJSON + Serialize + DeserializeOwned + PartialEq + Debug,
{
    assert_eq!(&serde_json::to_value(value).unwrap(), wire, "serde writes");
    assert_eq!(value.to_json().as_ref(), Some(wire), "poem writes");
    let read: T = serde_json::from_value(wire.clone()).unwrap();
    assert_eq!(&read, value, "serde reads");
    let read = T::parse_from_json(Some(wire.clone())).map_err(|error| error.into_message());
    assert_eq!(read.as_ref(), Ok(value), "poem reads");
}

fn version() -> Version {
    Version {
        version: "1.2.3".to_owned(),
        digest: "sha256:12".to_owned(),
    }
}

fn wire_version() -> Value {
    json!({ "version": "1.2.3", "digest": "sha256:12" })
}

fn module() -> ModuleStatus {
    ModuleStatus {
        module: "checkout".to_owned(),
        active: Some(version()),
        staged: None,
        previous: Some(version()),
        percent: 30,
        fence: 7,
        boot: "b".to_owned(),
        cpu_millis: 12,
        starts: Some(Starts {
            starts: 3,
            crashes: 1,
        }),
        received: Some(9),
        finished: Some(8),
        versions: vec![VersionStatus {
            version: version(),
            generation: 5,
            loads: 2,
            lifetime: Some(Lifetime {
                millis: 3_600_000,
                crashes: 1,
            }),
            requests: 3,
            errors: 2,
            in_flight: 1,
            received: 10,
            streams: 1,
            client: ClientFaults {
                left: 4,
                slow_uploads: 1,
                slow_readers: 0,
            },
            refused: 1,
            queued: 2,
            cpu_micros: 250,
            latency: vec![Bucket {
                bucket: 4,
                count: 3,
            }],
            latency_precision: 5,
            memory_bytes: 65536,
            memory_sum_bytes: 131_072,
            instances: 2,
            metrics: vec![ModuleMetric {
                name: "rows".to_owned(),
                requests: 2,
                sum_thousandths: 7000,
                values: vec![Bucket {
                    bucket: 9,
                    count: 1,
                }],
            }],
            ignored_metrics: 1,
            synthetic: 6,
        }],
        faults: vec![fault()],
    }
}

fn fault() -> SlotFault {
    SlotFault {
        slot: Slot::Previous,
        version: version(),
        reason: "gone".to_owned(),
    }
}

fn wire_fault() -> Value {
    json!({ "slot": "previous", "version": wire_version(), "reason": "gone" })
}

fn wire_module() -> Value {
    json!({
        "module": "checkout",
        "active": wire_version(),
        "previous": wire_version(),
        "percent": 30,
        "fence": 7,
        "boot": "b",
        "cpuMillis": 12,
        "starts": { "starts": 3, "crashes": 1 },
        "received": 9,
        "finished": 8,
        "versions": [{
            "version": wire_version(),
            "generation": 5,
            "loads": 2,
            "lifetime": { "millis": 3_600_000, "crashes": 1 },
            "requests": 3,
            "errors": 2,
            "inFlight": 1,
            "received": 10,
            "streams": 1,
            "client": { "left": 4, "slowUploads": 1, "slowReaders": 0 },
            "refused": 1,
            "queued": 2,
            "cpuMicros": 250,
            "latency": [{ "bucket": 4, "count": 3 }],
            "latencyPrecision": 5,
            "memoryBytes": 65536,
            "memorySumBytes": 131_072,
            "instances": 2,
            "metrics": [{
                "name": "rows",
                "requests": 2,
                "sumThousandths": 7000,
                "values": [{ "bucket": 9, "count": 1 }],
            }],
            "ignoredMetrics": 1,
            "synthetic": 6,
        }],
        "faults": [wire_fault()],
    })
}

#[test]
fn orders_have_the_same_json() {
    let version = version();
    for (action, wire) in [
        (
            Action::Stage(Stage {
                version: version.clone(),
            }),
            json!({ "type": "stage", "version": wire_version() }),
        ),
        (
            Action::Shift(Shift {
                version: version.clone(),
                percent: 30,
            }),
            json!({ "type": "shift", "version": wire_version(), "percent": 30 }),
        ),
        (
            Action::Promote(Promote {
                version: version.clone(),
            }),
            json!({ "type": "promote", "version": wire_version() }),
        ),
        (
            Action::Revert(Revert {
                to: Some(version.clone()),
            }),
            json!({ "type": "revert", "to": wire_version() }),
        ),
        (
            Action::Revert(Revert { to: None }),
            json!({ "type": "revert" }),
        ),
        (
            Action::Restart(Restart {
                version: version.clone(),
            }),
            json!({ "type": "restart", "version": wire_version() }),
        ),
        (Action::Settle(Settle {}), json!({ "type": "settle" })),
    ] {
        let order = OrderRequest {
            fence: u64::from(u32::MAX) + 1,
            deployment: "d".to_owned(),
            action,
            wait_millis: None,
            stall_millis: None,
        };
        let wire = json!({
            "fence": 4_294_967_296_u64,
            "deployment": "d",
            "action": wire,
        });
        assert_same_json(&order, &wire);
    }
}

#[test]
fn orders_that_take_long_have_the_same_json() {
    let order = OrderRequest {
        fence: 1,
        deployment: "d".to_owned(),
        action: Action::Settle(Settle {}),
        wait_millis: Some(2500),
        stall_millis: Some(60_000),
    };
    let wire = json!({
        "fence": 1,
        "deployment": "d",
        "action": { "type": "settle" },
        "waitMillis": 2500,
        "stallMillis": 60_000,
    });
    assert_same_json(&order, &wire);
    let mut progress = OrderProgress {
        phase: LoadPhase::Fetching,
        received_bytes: 43,
        total_bytes: Some(100),
    };
    let wire = json!({ "phase": "fetching", "receivedBytes": 43, "totalBytes": 100 });
    assert_same_json(&progress, &wire);
    progress.phase = LoadPhase::Compiling;
    progress.total_bytes = None;
    let wire = json!({ "phase": "compiling", "receivedBytes": 43 });
    assert_same_json(&progress, &wire);
}

#[test]
fn a_percentage_above_100_is_rejected() {
    let shift = |percent: u32| json!({ "version": wire_version(), "percent": percent });
    assert!(Shift::parse_from_json(Some(shift(100))).is_ok());
    assert!(Shift::parse_from_json(Some(shift(101))).is_err());
}

#[test]
fn statuses_have_the_same_json() {
    assert_same_json(&module(), &wire_module());
    assert_same_json(
        &NodeStatus {
            id: "node-1".to_owned(),
            version: "0.1.0".to_owned(),
            boot: "b".to_owned(),
            cpu_millis: 12,
            memory_bytes: 4096,
            modules: vec![module()],
        },
        &json!({
            "id": "node-1",
            "version": "0.1.0",
            "boot": "b",
            "cpuMillis": 12,
            "memoryBytes": 4096,
            "modules": [wire_module()],
        }),
    );
}

#[test]
fn probes_have_the_same_json() {
    assert_same_json(
        &ProbeRequest {
            version: version(),
            path: "/health".to_owned(),
            timeout_millis: 500,
        },
        &json!({ "version": wire_version(), "path": "/health", "timeoutMillis": 500 }),
    );
    assert_same_json(
        &ProbeAnswer {
            status: 204,
            body: String::new(),
        },
        &json!({ "status": 204, "body": "" }),
    );
}

#[test]
fn registrations_have_the_same_json() {
    let mut registration = Registration {
        environment: Some("production".to_owned()),
        zone: Some("a".to_owned()),
        labels: [("rack".to_owned(), "7".to_owned())].into(),
        control_url: "http://a:1".to_owned(),
        data_url: "http://a:2".to_owned(),
        highest_fence: 7,
        boot: None,
        instance: None,
        modules: None,
    };
    let mut wire = json!({
        "environment": "production",
        "zone": "a",
        "labels": { "rack": "7" },
        "controlUrl": "http://a:1",
        "dataUrl": "http://a:2",
        "highestFence": 7,
    });
    assert_same_json(&registration, &wire);
    registration.zone = None;
    wire.as_object_mut().unwrap().remove("zone");
    assert_same_json(&registration, &wire);
    registration.environment = None;
    wire.as_object_mut().unwrap().remove("environment");
    assert_same_json(&registration, &wire);
    registration.boot = Some("b".to_owned());
    registration.instance = Some("i".to_owned());
    registration.modules = Some(vec![ModuleReport {
        module: "checkout".to_owned(),
        active: Some(version()),
        staged: None,
        previous: Some(version()),
        percent: 0,
        faults: vec![fault()],
    }]);
    let modules = json!([{
        "module": "checkout",
        "active": wire_version(),
        "previous": wire_version(),
        "percent": 0,
        "faults": [wire_fault()],
    }]);
    let more = json!({ "boot": "b", "instance": "i", "modules": modules });
    let more = more.as_object().unwrap().clone();
    wire.as_object_mut().unwrap().extend(more);
    assert_same_json(&registration, &wire);
    let mut heartbeat = Heartbeat {
        health: NodeHealth::Passing,
        reason: None,
        highest_fence: 0,
        boot: None,
        control_url: None,
        data_url: None,
        modules: None,
        readiness: None,
        traffic: None,
    };
    assert_same_json(
        &heartbeat,
        &json!({ "health": "passing", "highestFence": 0 }),
    );
    heartbeat = Heartbeat {
        health: NodeHealth::Warning,
        reason: Some("why".to_owned()),
        highest_fence: 9,
        boot: Some("b".to_owned()),
        control_url: Some("http://a:1".to_owned()),
        data_url: Some("http://a:2".to_owned()),
        modules: registration.modules,
        readiness: Some(Readiness {
            ready: false,
            reason: Some("why".to_owned()),
            in_flight: 3,
        }),
        traffic: Some(Traffic {
            received: 12,
            malformed: 3,
            unroutable: 2,
            client: ClientFaults {
                left: 1,
                slow_uploads: 0,
                slow_readers: 4,
            },
        }),
    };
    let wire = json!({
        "health": "warning",
        "reason": "why",
        "highestFence": 9,
        "boot": "b",
        "controlUrl": "http://a:1",
        "dataUrl": "http://a:2",
        "modules": modules,
        "readiness": { "ready": false, "reason": "why", "inFlight": 3 },
        "traffic": {
            "received": 12,
            "malformed": 3,
            "unroutable": 2,
            "client": { "left": 1, "slowUploads": 0, "slowReaders": 4 },
        },
    });
    assert_same_json(&heartbeat, &wire);
    let stopping = json!({ "health": "stopping" });
    assert!(serde_json::from_value::<Heartbeat>(stopping).is_ok());
}

#[test]
fn answers_to_nodes_have_the_same_json() {
    let desired = DesiredVersion {
        version: version(),
        accepted: vec![version()],
    };
    let desired = [("checkout".to_owned(), desired)].into();
    let wire = json!({
        "checkout": { "version": wire_version(), "accepted": [wire_version()] },
    });
    let mut registered = Registered {
        heartbeat_millis: 5000,
        environment: None,
        desired: None,
        cordon: None,
    };
    assert_same_json(&registered, &json!({ "heartbeatMillis": 5000 }));
    registered.environment = Some("qa".to_owned());
    registered.desired = Some(desired);
    assert_same_json(
        &registered,
        &json!({ "heartbeatMillis": 5000, "environment": "qa", "desired": wire }),
    );
    assert_same_json(&HeartbeatAnswer::default(), &json!({}));
    let answer = HeartbeatAnswer {
        desired: registered.desired,
        cordon: Some(Cordon {
            drained: true,
            reason: "drained by ada".to_owned(),
        }),
    };
    let cordon = json!({ "drained": true, "reason": "drained by ada" });
    assert_same_json(&answer, &json!({ "desired": wire, "cordon": cordon }));
}

#[test]
fn polls_have_the_same_json() {
    let identity = Identity {
        id: "a".to_owned(),
        boot: "b".to_owned(),
        address: "10.0.0.1:1".to_owned(),
        control_url: "http://a:1".to_owned(),
        stopping: false,
        proof: "00".to_owned(),
    };
    let wire = json!({
        "id": "a",
        "boot": "b",
        "address": "10.0.0.1:1",
        "controlUrl": "http://a:1",
        "stopping": false,
        "proof": "00",
    });
    assert_same_json(&identity, &wire);
    let message = "hotswap node identity 2\nc\na\nb\n10.0.0.1:1\nhttp://a:1\nfalse";
    assert_eq!(identity.message("c"), message);
    let nothing = PollRequest {
        engine_url: None,
        told: None,
    };
    assert_same_json(&nothing, &json!({}));
    let request = PollRequest {
        engine_url: Some("http://e:1".to_owned()),
        told: Some(HeartbeatAnswer::default()),
    };
    assert_same_json(&request, &json!({ "engineUrl": "http://e:1", "told": {} }));
    let wire = json!({
        "registration": {
            "labels": {},
            "controlUrl": "http://a:1",
            "dataUrl": "http://a:2",
            "highestFence": 3,
        },
        "heartbeat": { "health": "passing", "highestFence": 3 },
    });
    let answer: PollAnswer = serde_json::from_value(wire.clone()).unwrap();
    assert_same_json(&answer, &wire);
}
