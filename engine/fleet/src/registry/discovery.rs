//! The registry as a source of instances.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::{Environment, Health, NodeId};
use tokio::sync::watch;

use super::Registry;
use super::member::Member;
use crate::discovery::{Condition, Discovery, Error, Instance, Outcomes, SourceState};

impl Registry {
    /// The registry's name as a source.
    pub const SOURCE: &'static str = "built-in";
}

/// What nodes report to the engine itself: never stale, and a node that is gone was deregistered.
#[async_trait]
impl Discovery for Registry {
    fn name(&self) -> &str {
        Self::SOURCE
    }

    fn kind(&self) -> &str {
        Self::SOURCE
    }

    fn instances(&self) -> Vec<Arc<Instance>> {
        self.members().into_iter().map(instance_of).collect()
    }

    fn instance(&self, id: &NodeId) -> Option<Arc<Instance>> {
        self.member(id).map(instance_of)
    }

    fn instances_of(&self, environment: &Environment) -> Vec<Arc<Instance>> {
        let members = self.members_of(environment).into_iter();
        members.map(instance_of).collect()
    }

    fn state(&self) -> SourceState {
        let members = self.members();
        let passing = |member: &&Member| member.health == Health::Passing;
        SourceState {
            condition: Condition::Healthy,
            age: Some(Duration::ZERO),
            last_error: None,
            instances: members.len(),
            passing: members.iter().filter(passing).count(),
            invalid: 0,
            invalid_example: None,
            held: None,
            outcomes: Outcomes::default(),
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.inner.members_changed.subscribe()
    }

    async fn refresh(&self) -> Result<(), Error> {
        Ok(())
    }
}

fn instance_of(member: Member) -> Arc<Instance> {
    let record = &member.record;
    Arc::new(Instance {
        id: record.id.clone(),
        environment: Some(record.environment.clone()),
        zone: record.zone.clone(),
        version: None,
        labels: record.labels.clone(),
        control_url: Some(record.control_url.clone()),
        data_url: Some(record.data_url.clone()),
        health: member.health,
    })
}
