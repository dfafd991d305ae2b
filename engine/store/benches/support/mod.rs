//! What the benches of stores share.

use std::time::{Duration, Instant};

use hotswap_core::{
    Answer, Append, Call, DeploymentId, Digest, EventBody, Fence, Header, ModuleVersion, NodeId,
    Requester, StrategyRef, Timestamp,
};
use hotswap_store::Journal;
use semver::Version;

pub fn print_row(what: &str, value: &str, ratio: &str) {
    println!("{what:<48} {value:>14} {ratio:>10}");
}

pub fn micros(time: Duration) -> String {
    format!("{:.0} µs", time.as_secs_f64() * 1e6)
}

pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The answer to one call and the intent of the next: what each step of a deployment appends.
pub fn step(deployment: DeploymentId, fence: Fence, number: u64) -> Append {
    let call = 2 * number as u32;
    let nodes: Vec<NodeId> = vec![
        "node-1".parse().expect("a name"),
        "node-2".parse().expect("a name"),
    ];
    Append {
        deployment,
        expected: 2 + 2 * number,
        fence: Some(fence),
        at: Timestamp::from_millis(1_700_000_000_000),
        bodies: vec![
            EventBody::Answered {
                call,
                answer: Answer::Nodewise(Vec::new()),
            },
            EventBody::Called {
                call: call + 1,
                request: Call::Shift { nodes, percent: 10 },
                due: None,
                readings: Vec::new(),
                answer: None,
            },
        ],
    }
}

pub async fn create(store: &impl Journal, module: &str) -> DeploymentId {
    let module = ModuleVersion {
        name: module.parse().expect("a name"),
        version: Version::new(1, 0, 0),
        digest: Digest::of(b"artifact"),
    };
    let strategy = StrategyRef {
        name: "canary".parse().expect("a name"),
        version: "1.0.0".to_owned(),
        digest: Digest::of(b"strategy"),
        wit: Version::new(0, 1, 0),
    };
    let requester = Requester {
        email: "ada@example.org".to_owned(),
        subject: "ada".to_owned(),
    };
    let id = DeploymentId::generate();
    let environment = "production".parse().expect("a name");
    let header = Header {
        config: serde_json::json!({ "steps": [10, 30, 50, 100] }),
        ..Header::new(id, module, environment, strategy, requester)
    };
    let at = Timestamp::from_millis(1_700_000_000_000);
    store.create(header, at).await.expect("a journal");
    let planned = Append {
        deployment: id,
        expected: 1,
        fence: None,
        at,
        bodies: vec![EventBody::Planned {
            nodes: Vec::new(),
            missing: Vec::new(),
            cordoned: Vec::new(),
        }],
    };
    store.append(planned).await.expect("an append");
    id
}

/// How long each of some steps takes, one after another.
pub async fn sequential(store: &impl Journal, steps: usize) -> Vec<Duration> {
    let id = create(store, "sequential").await;
    let fence = store.acquire_lease(id).await.expect("a lease").fence;
    let mut times = Vec::with_capacity(steps);
    for number in 0..steps as u64 {
        let step = step(id, fence, number);
        let start = Instant::now();
        store.append(step).await.expect("an append");
        times.push(start.elapsed());
    }
    times
}
