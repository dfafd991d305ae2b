//! What a soak needs of its deployment.

use std::sync::Arc;

use hotswap_core::{
    Answer, DeploymentId, Environment, Header, RecordedCall, SoakHistory, SoakOptions,
};

use super::fresh_baseline::FreshBaseline;
use super::members::Members;
use crate::soak_options;
use crate::soak_probes::{self, SoakProbes};
use crate::soak_queries::{self, SoakQuery};

/// What a soak needs of its deployment: a fold over its journal.
#[derive(Debug, Clone)]
pub(super) struct SoakContext {
    pub(super) deployment: DeploymentId,
    pub(super) environment: Environment,
    /// The evidence of earlier soaks.
    pub(super) history: SoakHistory,
    pub(super) options: SoakOptions,
    /// What the nodes send themselves.
    pub(super) probes: Option<Arc<SoakProbes>>,
    /// The queries that checks may name.
    pub(super) queries: Arc<[SoakQuery]>,
    /// The baselines that reload their version with each soak.
    pub(super) fresh_baseline: Option<Arc<FreshBaseline>>,
    /// How many nodes may fail.
    pub(super) tolerated: usize,
}

impl SoakContext {
    /// Of a deployment to these nodes that has made these calls.
    pub(super) fn new<'a>(
        header: &Header,
        members: Members<'_>,
        calls: impl IntoIterator<Item = &'a RecordedCall>,
    ) -> Self {
        let mut context = Self {
            deployment: header.id,
            environment: header.environment.clone(),
            history: SoakHistory::default(),
            options: soak_options::of_config(&header.config),
            probes: soak_probes::of_config(&header.config).map(Arc::new),
            queries: soak_queries::of_config(&header.config).into(),
            fresh_baseline: FreshBaseline::of(header, members).map(Arc::new),
            tolerated: header.policy.tolerated_failures.of(members.total()),
        };
        for answer in calls.into_iter().filter_map(|call| call.answer.as_ref()) {
            context.record(answer);
        }
        context
    }

    /// Adds the answer to a call of the deployment.
    pub(super) fn record(&mut self, answer: &Answer) {
        self.history.record(answer);
    }
}
