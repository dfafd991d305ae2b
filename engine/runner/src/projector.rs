use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hotswap_common::BatchReceiver;
use hotswap_core::{Deployment, DeploymentId};
use hotswap_store::{Appended, Journal};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{MissedTickBehavior, interval};

use crate::projections::{Error, Projections};

/// How long appends are collected before snapshots are written: a burst is over sooner if they
/// come after it.
const INTERVAL: Duration = Duration::from_millis(250);
/// How long it may rest between two looks at what was appended: each look takes a processor from
/// the drivers.
const REST: Duration = Duration::from_millis(10);
/// Events after which an open deployment gets a new snapshot. A snapshot has the size of the
/// state, so many fewer would make the writes grow with the nodes; this many are folded within
/// milliseconds.
const EVENTS_PER_SNAPSHOT: u64 = 1024;
/// Deployments without a snapshot that are looked up at once.
const PAGE: usize = 256;
/// Snapshots that are written at the same time: together they are one write to disk.
const CONCURRENT_WRITES: usize = 16;
/// After this many failures a deployment is left alone until the next start: its journal may be
/// damaged, and whoever reads it learns why.
const MAX_ATTEMPTS: u32 = 3;

/// Writes the snapshots that [`Projections`] reads: one at a deployment's end, and one after
/// each [`EVENTS_PER_SNAPSHOT`] events before. Also those that are missing at the start, or are of
/// another format.
///
/// Nobody waits for it. A snapshot that is not there yet only makes a read slower.
pub(crate) struct Projector {
    projections: Projections,
    journal: Arc<dyn Journal>,
    /// Where the last snapshot of each open deployment ends.
    open: HashMap<DeploymentId, u64>,
    /// Deployments that need a snapshot, and how often writing it has failed.
    pending: HashMap<DeploymentId, u32>,
    /// Appends may have been missed: at the start, and after lost notifications.
    must_scan: bool,
}

impl Projector {
    pub(crate) fn new(projections: Projections, journal: Arc<dyn Journal>) -> Self {
        Self {
            projections,
            journal,
            open: HashMap::new(),
            pending: HashMap::new(),
            must_scan: true,
        }
    }

    /// Writes snapshots until the store is closed. Cancel safe.
    pub(crate) async fn run(mut self) {
        let mut appended = BatchReceiver::new(self.journal.subscribe(), REST);
        let mut epochs = self.journal.epochs();
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                received = appended.recv() => match received {
                    Ok(append) => self.note(&append),
                    Err(RecvError::Lagged(_)) => self.must_scan = true,
                    Err(RecvError::Closed) => return,
                },
                // Of what was written, something may be lost.
                Ok(()) = epochs.changed() => {
                    self.open.clear();
                    self.must_scan = true;
                }
                _ = ticks.tick(), if self.must_scan || !self.pending.is_empty() => {
                    self.catch_up(&mut appended).await;
                }
            }
        }
    }

    fn note(&mut self, appended: &Appended) {
        let id = appended.deployment;
        if appended.head.lifecycle.is_ended() {
            self.open.remove(&id);
            self.pending.entry(id).or_default();
        } else {
            self.note_open(id, appended.head.next_seq);
        }
    }

    fn note_open(&mut self, id: DeploymentId, next_seq: u64) {
        let written = self.open.entry(id).or_default();
        if next_seq.saturating_sub(*written) >= EVENTS_PER_SNAPSHOT {
            *written = next_seq;
            self.pending.entry(id).or_default();
        }
    }

    async fn catch_up(&mut self, appended: &mut BatchReceiver<Appended>) {
        // What room is left is for the journals.
        if self.journal.is_full().await {
            return;
        }
        if std::mem::take(&mut self.must_scan)
            && let Err(error) = self.scan(appended).await
        {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(error, "cannot look for missing snapshots, retrying");
            self.must_scan = true;
        }
        let pending: Vec<_> = self.pending.drain().collect();
        self.write_all(&pending, appended).await;
    }

    /// Writes the snapshots of deployments, each with the number of its attempts before.
    async fn write_all(
        &mut self,
        pending: &[(DeploymentId, u32)],
        appended: &mut BatchReceiver<Appended>,
    ) {
        for some in pending.chunks(CONCURRENT_WRITES) {
            let saved = some.iter().map(|(id, _)| self.projections.save(*id));
            let saved = join_all(saved).await;
            for ((id, attempts), result) in some.iter().zip(saved) {
                self.note_written(*id, *attempts, result);
            }
            self.drain(appended);
        }
    }

    fn note_written(&mut self, id: DeploymentId, attempts: u32, result: Result<(), Error>) {
        let error = match result {
            Ok(()) | Err(Error::Unknown(_)) => return,
            Err(error) => error,
        };
        let may_pass = matches!(error, Error::Store(_)) && attempts + 1 < MAX_ATTEMPTS;
        let error: &dyn std::error::Error = &error;
        if may_pass {
            tracing::debug!(%id, error, "cannot write a snapshot, retrying");
            self.pending.insert(id, attempts + 1);
        } else {
            tracing::warn!(%id, error, "cannot write a snapshot; each read folds the journal");
        }
    }

    /// Takes the notifications that came meanwhile, before there are too many.
    fn drain(&mut self, appended: &mut BatchReceiver<Appended>) {
        loop {
            match appended.try_recv() {
                Ok(append) => self.note(&append),
                Err(TryRecvError::Lagged(_)) => self.must_scan = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    /// Finds the deployments that need a snapshot. Writes those of ended ones.
    async fn scan(&mut self, appended: &mut BatchReceiver<Appended>) -> Result<(), Error> {
        let journal = Arc::clone(&self.journal);
        let open = journal.open_deployments().await?;
        self.open.clear();
        for ids in open.chunks(PAGE) {
            let snapshots = journal.summaries(ids).await?;
            for (id, snapshot) in ids.iter().zip(snapshots) {
                let current = snapshot.filter(|snapshot| snapshot.format == Deployment::FORMAT);
                let written = current.map_or(0, |snapshot| snapshot.next_seq);
                self.open.insert(*id, written);
                self.note_open(*id, journal.head(*id).await?.next_seq);
            }
        }
        let mut before = None;
        loop {
            let missing = journal.ended_without_snapshot(Deployment::FORMAT, before, PAGE);
            let missing = missing.await?;
            let first_attempts: Vec<_> = missing.iter().map(|id| (*id, 0)).collect();
            self.write_all(&first_attempts, appended).await;
            match missing.last() {
                Some(last) if missing.len() == PAGE => before = Some(*last),
                _ => return Ok(()),
            }
        }
    }
}
