use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hotswap_core::{
    Append, Call, Clock, DeploymentId, Digest, EventBody, Header, Health, Level, ModuleVersion,
    Node, Outcome, Requester, StrategyRef, SystemClock,
};
use hotswap_store::{Journal, Sqlite};
use semver::Version;
use serde_json::{Value, json};

use crate::fixture::Fixture;

/// A deployment that no engine drives. The test appends the events to its journal.
pub struct ManualDeployment {
    pub id: DeploymentId,
    store: Arc<Sqlite>,
    next_seq: u64,
}

impl ManualDeployment {
    /// Creates a deployment of a new module. That makes two notifications: started, and the
    /// first status.
    pub async fn start(engine: &Fixture) -> Self {
        let header = header();
        let (id, store) = (header.id, engine.store.clone());
        store.create(header, SystemClock.now()).await.unwrap();
        Self {
            id,
            store,
            next_seq: 1,
        }
    }

    /// Appends these events with one write.
    pub async fn append(&mut self, bodies: impl IntoIterator<Item = EventBody>) {
        let append = Append {
            deployment: self.id,
            expected: self.next_seq,
            fence: None,
            at: SystemClock.now(),
            bodies: bodies.into_iter().collect(),
        };
        self.next_seq = self.store.append(append).await.unwrap().next_seq;
    }

    /// Pauses or resumes the deployment, in turn, `times` times with one write. Each makes one
    /// notification.
    pub async fn toggle(&mut self, times: u64) {
        self.toggle_by("ada", times).await;
    }

    pub async fn toggle_by(&mut self, by: &str, times: u64) {
        let head = self.store.head(self.id).await.unwrap();
        let paused = u64::from(head.lifecycle.paused);
        let bodies = (paused..paused + times).map(|turn| match turn % 2 {
            0 => EventBody::Paused {
                by: by.to_owned(),
                reason: None,
            },
            _ => EventBody::Resumed { by: by.to_owned() },
        });
        self.append(bodies).await;
    }

    /// Ends the deployment. That makes two notifications.
    pub async fn end(&mut self) {
        let cause = hotswap_core::Cause::new(hotswap_core::CauseKind::Abort, "enough");
        let ended = EventBody::Ended {
            outcome: Outcome::Failed,
            failures: Vec::new(),
            not_updated: Vec::new(),
        };
        self.append([EventBody::Reverting { cause }, ended]).await;
    }

    /// The arguments of an invocation about this deployment.
    pub fn arguments(&self) -> Value {
        json!([self.id.to_string()])
    }

    /// The same, to resume after this position.
    pub fn arguments_after(&self, position: &Value) -> Value {
        json!([self.id.to_string(), position])
    }

    /// The path of the deployment in the API.
    pub fn path(&self) -> String {
        format!("/api/v1/deployments/{}", self.id)
    }

    /// The path of its events in the API.
    pub fn events_path(&self) -> String {
        format!("{}/events", self.path())
    }
}

pub fn planned<const N: usize>(nodes: [&str; N]) -> EventBody {
    let node = |id: &str| Node {
        id: id.parse().unwrap(),
        zone: None,
        labels: Default::default(),
        health: Health::Passing,
        active: None,
        fault: None,
    };
    EventBody::Planned {
        nodes: nodes.into_iter().map(node).collect(),
        missing: Vec::new(),
        cordoned: Vec::new(),
    }
}

fn called(request: Call) -> EventBody {
    EventBody::Called {
        call: 0,
        request,
        due: None,
        readings: Vec::new(),
        answer: None,
    }
}

pub fn progress(percent: u8) -> EventBody {
    let stage = "half".to_owned();
    called(Call::Progress { stage, percent })
}

/// An event without a notification.
pub fn log(message: &str) -> EventBody {
    let (level, message) = (Level::Info, message.to_owned());
    called(Call::Log { level, message })
}

fn header() -> Header {
    static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
    let module = ModuleVersion {
        // At most one deployment of a module may be open.
        name: format!("manual-{number}").parse().unwrap(),
        version: Version::new(1, 0, 0),
        digest: Digest::of(b"module"),
    };
    let strategy = StrategyRef {
        name: "direct".parse().unwrap(),
        version: "1.0.0".to_owned(),
        digest: Digest::of(b"strategy"),
        wit: Version::new(0, 1, 0),
    };
    let requester = Requester {
        email: "ada@example.org".to_owned(),
        subject: "ada".to_owned(),
    };
    let (id, environment) = (DeploymentId::generate(), "qa".parse().unwrap());
    Header {
        config: json!({}),
        ..Header::new(id, module, environment, strategy, requester)
    }
}
