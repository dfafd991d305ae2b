//! What a soak reads of its nodes.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hotswap_core::{
    Call, Check, Environment, Judge, ModuleName, NodeError, NodeId, NodeReading, QueryReading,
    SoakReadings,
};
use hotswap_fleet::Fleet;

use super::super::error::Error;
use super::super::node_operations::local_fault;
use super::super::queried_soak::QueriedSoak;
use super::Sources;

/// Nodes that one soak reads at the same time. Reading is cheap, and many soaks read.
const CONCURRENT_READS: usize = 32;

/// What one reading of all nodes has found.
pub(super) struct Answers {
    pub(super) readings: Vec<NodeReading>,
    pub(super) queries: Vec<QueryReading>,
    /// Why this machine could not ask some of the nodes.
    pub(super) local_fault: Option<String>,
}

/// The counters of the nodes at the beginning of a soak. Empty for any other call, and for a
/// soak that judges nothing.
///
/// # Errors
/// [`Error::Nodes`] if this machine cannot ask all of them.
pub(in super::super) async fn initial_readings(
    fleet: &dyn Fleet,
    of: (&Environment, &ModuleName),
    call: &Call,
) -> Result<Vec<NodeReading>, Error> {
    match call {
        Call::Soak {
            canary,
            baseline,
            checks,
            window,
        } if needs_readings(checks, Duration::from_millis(*window)) => {
            let nodes: BTreeSet<_> = canary.iter().chain(baseline).collect();
            let (mut readings, fault) = read(fleet, of, nodes.into_iter()).await;
            if let Some(reason) = fault {
                return Err(local_fault(reason));
            }
            keep_judged(&mut readings, checks);
            Ok(readings)
        }
        _ => Ok(Vec::new()),
    }
}

/// Drops the metrics of the module's own that no check judges: the journal keeps these readings.
fn keep_judged(readings: &mut [NodeReading], checks: &[Check]) {
    let is_judged = |name: &str| {
        let mut names = checks.iter();
        names.any(|check| Judge::module_metric_of(&check.metric) == Some(name))
    };
    for held in readings
        .iter_mut()
        .flat_map(|reading| &mut reading.versions)
    {
        held.module_metrics.retain(|metric| is_judged(&metric.name));
    }
}

/// Whether a soak judges anything by the counters of nodes.
pub(super) fn needs_readings(checks: &[Check], window: Duration) -> bool {
    !checks.is_empty() && !window.is_zero()
}

/// Reads the nodes, and asks providers at the same time. The judge waits for the slower of both: a
/// provider has a time-out.
pub(super) async fn ask(
    sources: &Sources<'_>,
    environment: &Environment,
    soak: &SoakReadings,
    queried: Option<&QueriedSoak>,
) -> Answers {
    let asked = async {
        match queried {
            Some(queried) => queried.ask(sources.providers, sources.clock.as_ref()).await,
            None => Vec::new(),
        }
    };
    let of = (environment, soak.module());
    let read = read(sources.fleet, of, soak.nodes());
    let ((readings, local_fault), queries) = tokio::join!(read, asked);
    Answers {
        readings,
        queries,
        local_fault,
    }
}

/// Leaves out nodes that do not answer: too few readings make a check inconclusive. Also returns why
/// this machine could not ask some of them.
async fn read<'a>(
    fleet: &dyn Fleet,
    (environment, module): (&Environment, &ModuleName),
    nodes: impl ExactSizeIterator<Item = &'a NodeId>,
) -> (Vec<NodeReading>, Option<String>) {
    let count = nodes.len();
    let mut reads = Vec::with_capacity(count);
    for node in nodes {
        reads.push(fleet.read(environment, node, module));
    }
    let mut answers = stream::iter(reads).buffer_unordered(CONCURRENT_READS);
    let mut readings = Vec::with_capacity(count);
    let mut local_fault = None;
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(reading) => readings.push(reading),
            Err(NodeError::Local(reason)) => local_fault = Some(reason),
            Err(_) => {}
        }
    }
    (readings, local_fault)
}
