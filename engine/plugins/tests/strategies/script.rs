//! Call handlers for tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::{
    Answer, Call, Decision, DeploymentId, Digest, Health, ModuleVersion, Node, NodeFailure,
    StrategyLimits, Verdict,
};
use hotswap_plugins::{CallHandler, Exit, Host, Limits, Plan, ReadyAnswers, Stop, Strategy};
use tokio::sync::Semaphore;

/// Longer than any test may take.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers every call as a healthy fleet does, and records it.
#[derive(Default)]
pub struct Script {
    pub calls: Vec<Call>,
    /// Ends the run instead of answering the call with this index.
    pub stop_at: Option<(usize, Stop)>,
    /// Failures with which node operations are answered.
    pub failures: Vec<NodeFailure>,
    /// The answer to every call, even if it is of the wrong type.
    pub always: Option<Answer>,
    /// Whether the run is a replay.
    pub is_replaying: bool,
    /// How many calls a journal holds.
    pub replayed_calls: usize,
    /// Whether the strategy may compute on the thread that polls the run.
    pub may_compute_here: bool,
    /// Answers calls before they are recorded.
    pub replay: Option<Arc<dyn ReadyAnswers>>,
}

#[async_trait]
impl CallHandler for Script {
    fn is_replaying(&self) -> bool {
        self.is_replaying || self.calls.len() < self.replayed_calls
    }

    fn may_compute_here(&self) -> bool {
        self.may_compute_here
    }

    fn ready_answers(&self) -> Option<Arc<dyn ReadyAnswers>> {
        self.replay.clone()
    }

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
                promoted_by: None,
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

/// Holds every call until the gate is opened, and counts the calls that arrive.
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

    /// A handler whose calls wait at this gate.
    pub fn handler(&self) -> Self {
        Self {
            arrived: Arc::clone(&self.arrived),
            open: Arc::clone(&self.open),
        }
    }

    /// Waits until this many more calls have arrived.
    pub async fn reached(&self, calls: u32) {
        let arrived = tokio::time::timeout(TEST_TIMEOUT, self.arrived.acquire_many(calls));
        arrived.await.expect("in time").expect("open").forget();
    }
}

#[async_trait]
impl CallHandler for Gate {
    async fn call(&mut self, _: Call) -> Result<Answer, Stop> {
        self.arrived.add_permits(1);
        self.open.acquire().await.expect("open").forget();
        Ok(Answer::Nodewise(Vec::new()))
    }
}

pub fn host() -> Host {
    Host::new(Limits {
        pooled_runs: 64,
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
        fault: None,
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
        limits: StrategyLimits::default(),
    }
}

/// Runs the hostile strategy with one of its attacks.
pub async fn run_attack(strategy: &Strategy, attack: &str, handler: &mut dyn CallHandler) -> Exit {
    let config = serde_json::json!({ "attack": attack });
    let config = strategy.configure(Some(config)).unwrap();
    let run = async { strategy.run(&plan(&config.to_string()), handler).await };
    tokio::time::timeout(TEST_TIMEOUT, run)
        .await
        .expect("in time")
}
