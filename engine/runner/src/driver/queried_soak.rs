//! What a soak asks providers of metrics.

use futures_util::future::join_all;
use hotswap_core::{
    Check, Clock, ModuleVersion, NodeId, NodeReading, QueryReading, previous_version,
};

use super::soak_context::SoakContext;
use crate::metric_providers::MetricProviders;
use crate::soak_queries::{self, QueriedVersion, SoakQuery};

/// The questions of a soak: the same at each reading, so they are made once.
#[derive(Debug)]
pub(super) struct QueriedSoak(Vec<Question>);

#[derive(Debug)]
struct Question {
    name: String,
    /// `None` if the configuration has no query of that name.
    query: Option<Queried>,
}

#[derive(Debug)]
struct Queried {
    provider: String,
    pointer: Option<String>,
    canary: String,
    /// The same of the previous version, where the query tells versions apart.
    baseline: Option<String>,
}

impl QueriedSoak {
    /// The questions behind these checks. `None` if there are none. `start` are the readings at
    /// the beginning of the soak, which tell the previous version.
    pub(super) fn new(
        checks: &[Check],
        module: &ModuleVersion,
        (canary, baseline): (&[NodeId], &[NodeId]),
        start: &[NodeReading],
        context: &SoakContext,
    ) -> Option<Self> {
        let names = soak_queries::names(checks);
        if names.is_empty() {
            return None;
        }
        let (version, digest) = (module.version.to_string(), module.digest.to_string());
        let new = QueriedVersion {
            version: &version,
            digest: &digest,
            nodes: canary,
        };
        let previous = previous_version(baseline, module, start);
        let previous = previous.map(|(version, digest)| (version, digest.to_string()));
        let old = previous.as_ref().map(|(version, digest)| QueriedVersion {
            version,
            digest,
            nodes: baseline,
        });
        let question = |name: &str| {
            let mut queries = context.queries.iter();
            let query = queries.find(|query| query.name == name);
            Question {
                name: name.to_owned(),
                query: query.map(|query: &SoakQuery| Queried {
                    provider: query.provider.clone(),
                    pointer: query.pointer.clone(),
                    canary: query.for_version(module, new),
                    baseline: old
                        .filter(|_| query.is_by_version())
                        .map(|old| query.for_version(module, old)),
                }),
            }
        };
        Some(Self(names.into_iter().map(question).collect()))
    }

    /// Asks each question once. Takes no longer than the slowest provider may.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn ask(
        &self,
        providers: &MetricProviders,
        clock: &dyn Clock,
    ) -> Vec<QueryReading> {
        let readings = self.0.iter().map(|question| question.ask(providers, clock));
        join_all(readings).await
    }
}

impl Question {
    async fn ask(&self, providers: &MetricProviders, clock: &dyn Clock) -> QueryReading {
        let mut reading = QueryReading {
            query: self.name.clone(),
            at: clock.now(),
            canary: None,
            baseline: None,
            error: None,
        };
        let Some(queried) = &self.query else {
            reading.error = Some(format!(
                "the configuration has no query named '{}'",
                self.name
            ));
            return reading;
        };
        let (provider, pointer) = (&queried.provider, queried.pointer.as_deref());
        let canary = providers.ask(provider, &queried.canary, pointer);
        let baseline = async {
            let baseline = queried.baseline.as_ref()?;
            Some(providers.ask(provider, baseline, pointer).await)
        };
        let (canary, baseline) = tokio::join!(canary, baseline);
        match canary {
            Ok(value) => reading.canary = Some(value),
            Err(error) => reading.error = Some(error),
        }
        match baseline {
            None => {}
            Some(Ok(value)) => reading.baseline = Some(value),
            Some(Err(error)) => {
                let error = format!("for the previous version: {error}");
                reading.error.get_or_insert(error);
            }
        }
        reading
    }
}
