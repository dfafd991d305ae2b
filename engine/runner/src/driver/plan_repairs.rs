//! Brings nodes of the plan back while the deployment waits.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;

use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use futures_util::{StreamExt, stream};
use hotswap_core::{EventBody, Fence, NodeError, Repair};

use super::context::DriverContext;
use super::error::Error;
use super::journal_writer::JournalWriter;
use super::lost_nodes::{Attempted, LostNodes, find};
use crate::reconciler::Place;
use crate::repair_orders::{log_failed, log_repaired};

/// Brings nodes of the plan back that have lost what the deployment has decided for them so far,
/// beside a wait of the deployment.
///
/// Each intent is durable before its first order leaves, and each order carries the fence of the
/// driver's lease. Dropping this leaves orders where they are: only for an end of the deployment,
/// which takes a new fence and reverts these nodes, too.
pub(super) struct PlanRepairs<'a> {
    /// `None` where no node is to be repaired.
    context: Option<&'a DriverContext>,
    /// What is under way, or what has become of it. Boxed: thousands of deployments wait, and few of
    /// them repair.
    under_way: Option<Box<MaybeDone<Work<'a>>>>,
}

/// A look for lost nodes, or an attempt to bring them back.
type Work<'a> = BoxFuture<'a, Result<Progress, Error>>;

/// What has become of what was under way.
pub(super) enum Progress {
    /// These nodes are to be brought back.
    Found(Option<Box<LostNodes>>),
    /// All attempts have ended.
    Attempted {
        lost: Box<LostNodes>,
        attempted: Vec<Attempted>,
    },
}

impl<'a> PlanRepairs<'a> {
    pub(super) fn of(context: Option<&'a DriverContext>) -> Self {
        Self {
            context,
            under_way: None,
        }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Begins to look for lost nodes, where that was requested.
    ///
    /// # Errors
    /// As [`JournalWriter::flush`]: the journal must say all that is known of the nodes.
    pub(super) async fn begin_if_due(&mut self, writer: &mut JournalWriter) -> Result<(), Error> {
        let deployment = writer.deployment();
        if let Some(context) = self.context
            && self.under_way.is_none()
            && context.due_repairs.take(deployment)
        {
            // Boxed, so that what waits does not keep the memory of an append.
            Box::pin(writer.flush()).await?;
            self.begin(async move { find(context, deployment).await.map(Progress::Found) });
        }
        Ok(())
    }

    fn begin(&mut self, work: impl Future<Output = Result<Progress, Error>> + Send + 'a) {
        self.under_way = Some(Box::new(maybe_done(Box::pin(work))));
    }

    /// Goes on with what is under way, and never returns where nothing is. Cancel safe.
    ///
    /// # Errors
    /// As [`find`], and [`Error::StaleFence`].
    pub(super) async fn progress(&mut self) -> Result<Progress, Error> {
        if let Some(under_way) = &mut self.under_way {
            under_way.as_mut().await;
            let progress = Pin::new(under_way.as_mut()).take_output();
            self.under_way = None;
            if let Some(progress) = progress {
                return progress;
            }
        }
        pending().await
    }

    /// Goes on with what is under way, and keeps what has become of it for [`Self::progress`]. Never
    /// returns. Cancel safe.
    pub(super) async fn go_on(&mut self) -> Infallible {
        if let Some(under_way) = &mut self.under_way {
            under_way.await;
        }
        pending().await
    }

    /// Journals the intents of what was found, and begins to carry them out; or journals what came
    /// of them.
    ///
    /// # Errors
    /// As [`JournalWriter::flush`].
    pub(super) async fn take(
        &mut self,
        progress: Progress,
        writer: &mut JournalWriter,
    ) -> Result<(), Error> {
        let Some(context) = self.context else {
            return Ok(());
        };
        match progress {
            Progress::Found(None) => {}
            Progress::Found(Some(lost)) if lost.nodes().is_empty() => {}
            Progress::Found(Some(lost)) => {
                for node in lost.nodes() {
                    writer.push(EventBody::Repairing(node.repair.clone()));
                }
                writer.flush().await?;
                // The intents are the newest events.
                let count = lost.nodes().len() as u64;
                let first = writer.tail().next_seq.saturating_sub(count);
                let fence = writer.fence();
                self.begin(attempt(context, lost, fence, first));
            }
            Progress::Attempted { lost, attempted } => {
                for (repair, result) in attempted {
                    if let Some(body) = ended(context, &lost, repair, result) {
                        writer.push(body);
                    }
                }
                writer.flush().await?;
                // Requested while they were brought back. If some are still lost, the reconciler
                // notices again.
                context.due_repairs.take(writer.deployment());
            }
        }
        Ok(())
    }
}

/// Brings the nodes back, several at the same time. `first` is the number of the first intent.
async fn attempt(
    context: &DriverContext,
    lost: Box<LostNodes>,
    fence: Fence,
    first: u64,
) -> Result<Progress, Error> {
    let nodes = lost.nodes().iter().zip(first..);
    let attempts = nodes.map(|(node, number)| lost.bring_back(context, fence, node, number));
    // Collected first: a stream over borrowing closures is not `Send` for every lifetime.
    let attempts: Vec<_> = attempts.collect();
    let places = context.limits.fan_out.max(1);
    let attempted: Vec<Attempted> = stream::iter(attempts)
        .buffer_unordered(places)
        .collect()
        .await;
    let fences = attempted.iter().filter_map(|(_, result)| match result {
        Err(NodeError::Fenced(seen)) => Some(Fence(*seen)),
        _ => None,
    });
    match fences.max() {
        // The next lease has a higher one.
        Some(seen) => Err(Error::StaleFence { seen, ours: fence }),
        None => Ok(Progress::Attempted { lost, attempted }),
    }
}

/// The event that tells how an attempt ended. `None` if this machine could open no connection: that
/// says nothing about the node.
fn ended(
    context: &DriverContext,
    lost: &LostNodes,
    repair: Repair,
    result: Result<(), NodeError>,
) -> Option<EventBody> {
    let environment = &lost.header().environment;
    let place = Place::new(environment, &repair.module, &repair.node);
    let Err(error) = result else {
        context.repairs.record_success(&place);
        log_repaired(&repair);
        return Some(EventBody::Repaired(repair));
    };
    let (repairs, clock) = (&context.repairs, context.clock.as_ref());
    let attempts = repairs.record_failure(&place, repair.to.as_ref(), error.clone(), clock);
    log_failed(&repair, &error, attempts);
    let is_local = matches!(error, NodeError::Local(_));
    (!is_local).then_some(EventBody::RepairFailed {
        repair,
        error,
        attempts,
    })
}
