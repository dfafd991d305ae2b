//! What the unit tests of a driver share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use hotswap_core::{
    Clock, DeploymentId, Digest, Environment, Header, ModuleVersion, Policy, Requester,
    StrategyLimits, StrategyRef, SystemClock, Timestamp,
};

/// The monotonic clock of tokio, which tests pause and advance, and a wall-clock that runs
/// with it and that tests can set.
pub(super) struct TestClock {
    started: Instant,
    stepped_millis: AtomicI64,
}

impl Default for TestClock {
    fn default() -> Self {
        Self {
            started: SystemClock.instant(),
            stepped_millis: AtomicI64::new(1_700_000_000_000),
        }
    }
}

impl TestClock {
    /// Sets the wall-clock forward or back.
    pub(super) fn step(&self, seconds: i64) {
        self.stepped_millis
            .fetch_add(seconds * 1000, Ordering::Relaxed);
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let elapsed = self.instant().duration_since(self.started).as_millis() as i64;
        let millis = self.stepped_millis.load(Ordering::Relaxed) + elapsed;
        Timestamp::from_millis(millis.unsigned_abs())
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }

    async fn sleep_until(&self, at: Instant) {
        SystemClock.sleep_until(at).await;
    }
}

pub(super) fn header() -> Header {
    let environment: Environment = "production".parse().unwrap();
    Header {
        id: DeploymentId::from_bytes([7; 16]),
        module: module("2.0.0"),
        policy: Policy::default_for(&environment),
        environment,
        strategy: StrategyRef {
            name: "canary".parse().unwrap(),
            version: "0.1.0".into(),
            digest: Digest::of(b"canary"),
            wit: "0.1.0".parse().unwrap(),
        },
        config: serde_json::json!({}),
        limits: StrategyLimits::default(),
        requester: Requester {
            email: "ada@example.com".into(),
            subject: "ada".into(),
        },
        description: None,
        metadata: BTreeMap::new(),
        require_approval: false,
        rollback_of: None,
        trace: None,
        idempotency: None,
    }
}

pub(super) fn module(version: &str) -> ModuleVersion {
    ModuleVersion {
        name: "hello".parse().unwrap(),
        version: version.parse().unwrap(),
        digest: Digest::of(version.as_bytes()),
    }
}
