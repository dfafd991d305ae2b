//! What the benches of stores share.

use std::time::Duration;

use hotswap_core::{
    Answer, Append, Call, DeploymentId, Digest, Environment, EventBody, Fence, Header,
    ModuleVersion, NodeId, Policy, Requester, StrategyLimits, StrategyRef, Timestamp,
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
    let environment: Environment = "production".parse().expect("a name");
    let header = Header {
        id: DeploymentId::generate(),
        module: ModuleVersion {
            name: module.parse().expect("a name"),
            version: Version::new(1, 0, 0),
            digest: Digest::of(b"artifact"),
        },
        policy: Policy::default_for(&environment),
        environment,
        strategy: StrategyRef {
            name: "canary".parse().expect("a name"),
            version: "1.0.0".to_owned(),
            digest: Digest::of(b"strategy"),
            wit: Version::new(0, 1, 0),
        },
        config: serde_json::json!({ "steps": [10, 30, 50, 100] }),
        limits: StrategyLimits::default(),
        requester: Requester {
            email: "ada@example.org".to_owned(),
            subject: "ada".to_owned(),
        },
        description: None,
        metadata: [].into(),
        require_approval: false,
        selector: None,
        rollback_of: None,
        retry_of: None,
        undo_to: None,
        undo_from: None,
        supersedes: None,
        trace: None,
        idempotency: None,
    };
    let id = header.id;
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
