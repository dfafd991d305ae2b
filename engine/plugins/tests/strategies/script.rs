//! What answers a strategy in a test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::{
    Answer, Call, Decision, DeploymentId, Digest, Health, ModuleVersion, Node, NodeFailure, Verdict,
};
use hotswap_plugins::{Calls, Exit, Host, Limits, Plan, Stop, Strategy};
use tokio::sync::Semaphore;

/// Longer than any test may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Answers every call as a fleet does in which all goes well, and remembers it.
#[derive(Default)]
pub struct Script {
    pub calls: Vec<Call>,
    /// End the run instead of answering the call with this number.
    pub stop_at: Option<(usize, Stop)>,
    /// Nodes that do not do what they are asked.
    pub failures: Vec<NodeFailure>,
    /// Answer each call with this, whether it fits or not.
    pub always: Option<Answer>,
}

#[async_trait]
impl Calls for Script {
    async fn call(&mut self, call: Call) -> Result<Answer, Stop> {
        self.calls.push(call.clone());
        match &self.stop_at {
            Some((at, stop)) if self.calls.len() > *at => return Err(stop.clone()),
            _ => {}
        }
        if let Some(answer) = &self.always {
            return Ok(answer.clone());
        }
        Ok(match call {
            Call::Nodes => Answer::Nodes(plan("{}").nodes),
            Call::Now => Answer::Time(1),
            Call::Soak { .. } => Answer::Verdict(Verdict {
                judgement: hotswap_core::Judgement::Pass,
                findings: Vec::new(),
            }),
            Call::Approval { .. } => Answer::Decision(Decision {
                approved: true,
                by: "ann".into(),
                comment: None,
            }),
            Call::Sleep { .. } | Call::Progress { .. } | Call::Log { .. } => Answer::Done,
            _ => Answer::Nodewise(self.failures.clone()),
        })
    }
}

/// Keeps every call waiting until the gate is opened, and counts who came to it.
pub struct Gate {
    pub arrived: Arc<Semaphore>,
    pub open: Arc<Semaphore>,
}

impl Gate {
    pub fn new() -> Self {
        Self {
            arrived: Arc::new(Semaphore::new(0)),
            open: Arc::new(Semaphore::new(0)),
        }
    }

    pub fn calls(&self) -> Self {
        Self {
            arrived: Arc::clone(&self.arrived),
            open: Arc::clone(&self.open),
        }
    }

    /// Waits until so many calls have come.
    pub async fn reached(&self, calls: u32) {
        let arrived = tokio::time::timeout(PATIENCE, self.arrived.acquire_many(calls));
        arrived.await.expect("in time").expect("open").forget();
    }
}

#[async_trait]
impl Calls for Gate {
    async fn call(&mut self, _: Call) -> Result<Answer, Stop> {
        self.arrived.add_permits(1);
        self.open.acquire().await.expect("open").forget();
        Ok(Answer::Nodewise(Vec::new()))
    }
}

pub fn host() -> Host {
    Host::new(Limits {
        pooled: 64,
        ..Limits::default()
    })
    .unwrap()
}

/// A plan of three nodes.
pub fn plan(config: &str) -> Plan {
    let node = |id: &str| Node {
        id: id.parse().unwrap(),
        zone: Some("a".into()),
        labels: BTreeMap::from([("env".into(), "test".into())]),
        health: Health::Passing,
        active: None,
    };
    Plan {
        deployment: DeploymentId::from_bytes([7; 16]),
        environment: "test".parse().unwrap(),
        module: ModuleVersion {
            name: "checkout".parse().unwrap(),
            version: "2.0.0".parse().unwrap(),
            digest: Digest::of(b"v2"),
        },
        nodes: vec![node("node-1"), node("node-2"), node("node-3")],
        config: serde_json::from_str(config).unwrap(),
    }
}

/// Runs the hostile strategy in one of its ways.
pub async fn attack(strategy: &Strategy, way: &str, calls: &mut dyn Calls) -> Exit {
    let config = serde_json::json!({ "attack": way });
    let config = strategy.configure(Some(config)).unwrap();
    let run = async { strategy.run(&plan(&config.to_string()), calls).await };
    tokio::time::timeout(PATIENCE, run).await.expect("in time")
}
