use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hotswap_core::{
    Append, Call, Clock, DeploymentId, Digest, Environment, EventBody, Header, Health, Level,
    ModuleVersion, Node, Outcome, Policy, Requester, StrategyRef, SystemClock,
};
use hotswap_store::{Journal, Sqlite};
use semver::Version;
use serde_json::{Value, json};

use crate::fixture::Fixture;

/// A deployment that no engine drives: what happens to it is what the test writes.
pub struct Written {
    pub id: DeploymentId,
    store: Arc<Sqlite>,
    next: u64,
}

impl Written {
    /// Begins one of a module of its own. Two messages follow from that: that it has
    /// started, and its first status.
    pub async fn begin(engine: &Fixture) -> Self {
        let header = header();
        let (id, store) = (header.id, engine.store.clone());
        store.create(header, SystemClock.now()).await.unwrap();
        Self { id, store, next: 1 }
    }

    /// Appends all of these at once.
    pub async fn append(&mut self, bodies: impl IntoIterator<Item = EventBody>) {
        let append = Append {
            deployment: self.id,
            expected: self.next,
            fence: None,
            at: SystemClock.now(),
            bodies: bodies.into_iter().collect(),
        };
        self.next = self.store.append(append).await.unwrap().next_seq;
    }

    /// Has it paused where it goes on, and resumed where it is paused, so many times at
    /// once. One message follows from each.
    pub async fn toggle(&mut self, times: u64) {
        self.toggle_by("ada", times).await;
    }

    pub async fn toggle_by(&mut self, by: &str, times: u64) {
        let head = self.store.head(self.id).await.unwrap();
        let paused = u64::from(head.lifecycle.paused);
        let bodies = (paused..paused + times).map(|turn| match turn % 2 {
            0 => EventBody::Paused { by: by.to_owned() },
            _ => EventBody::Resumed { by: by.to_owned() },
        });
        self.append(bodies).await;
    }

    /// Ends it: two messages.
    pub async fn end(&mut self) {
        let cause = hotswap_core::Cause::new(hotswap_core::CauseKind::Abort, "enough");
        let ended = EventBody::Ended {
            outcome: Outcome::Failed,
            failures: Vec::new(),
        };
        self.append([EventBody::Reverting { cause }, ended]).await;
    }

    /// The one argument of what is asked about it.
    pub fn argument(&self) -> Value {
        json!([self.id.to_string()])
    }

    /// The same, to go on after this place.
    pub fn after(&self, position: &Value) -> Value {
        json!([self.id.to_string(), position])
    }

    /// Where the API has it.
    pub fn path(&self) -> String {
        format!("/api/v1/deployments/{}", self.id)
    }

    /// Where the API has its events.
    pub fn events(&self) -> String {
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
    };
    EventBody::Planned {
        nodes: nodes.into_iter().map(node).collect(),
    }
}

pub fn called(request: Call) -> EventBody {
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

/// No message follows from it.
pub fn log(message: &str) -> EventBody {
    let (level, message) = (Level::Info, message.to_owned());
    called(Call::Log { level, message })
}

fn header() -> Header {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    let environment: Environment = "qa".parse().unwrap();
    Header {
        id: DeploymentId::generate(),
        module: ModuleVersion {
            // At most one of a module is open.
            name: format!("written-{number}").parse().unwrap(),
            version: Version::new(1, 0, 0),
            digest: Digest::of(b"module"),
        },
        policy: Policy::default_for(&environment),
        environment,
        strategy: StrategyRef {
            name: "direct".parse().unwrap(),
            version: "1.0.0".to_owned(),
            digest: Digest::of(b"strategy"),
            wit: Version::new(0, 1, 0),
        },
        config: json!({}),
        requester: Requester {
            email: "ada@example.org".to_owned(),
            subject: "ada".to_owned(),
        },
        description: None,
        metadata: Default::default(),
        require_approval: false,
        rollback_of: None,
        trace: None,
    }
}
