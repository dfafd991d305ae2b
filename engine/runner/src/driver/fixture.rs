//! What the unit tests of a driver share.

use std::collections::BTreeMap;

use hotswap_core::{
    DeploymentId, Digest, Environment, Header, ModuleVersion, Policy, Requester, StrategyRef,
};

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
