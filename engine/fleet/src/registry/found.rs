//! Nodes that were found in another registry. They do not report in: the engine asks them, and what
//! they answer counts as if they had.

use std::sync::Arc;

use hotswap_core::NodeId;
use hotswap_protocol::{HeartbeatAnswer, NodeHealth, PollAnswer, Registration};

use super::Registry;
use super::error::Error;
use super::member::Move;
use super::node_entry::Report;
use super::validate::validate_registration;

impl Registry {
    /// Whether a node reports in by itself, so that it need not be asked.
    pub fn reports_by_itself(&self, id: &NodeId) -> bool {
        let moment = self.inner.moment();
        self.read().get(id).is_some_and(|entry| {
            entry.found_in.is_none() && entry.last_heard.is_some() && entry.is_reporting(moment)
        })
    }

    /// The engine's answer to a node that it polls. `None` if this start of the node has not
    /// registered with this engine.
    pub fn told_to(&self, id: &NodeId, boot: &str) -> Option<HeartbeatAnswer> {
        let record = {
            let nodes = self.read();
            let entry = nodes.get(id);
            let entry = entry.filter(|entry| entry.boot.as_deref() == Some(boot))?;
            Arc::clone(&entry.record)
        };
        Some(self.told(&record))
    }

    /// Counts the report of a node that was asked: as a registration where it is new, was restarted
    /// or has changed, and as a heartbeat otherwise. Returns whether it was a registration.
    ///
    /// Safe to repeat, also after it was cancelled.
    ///
    /// # Errors
    /// Those of [`Self::register_recording`] and of [`Self::heartbeat`].
    pub async fn report_found<E: From<Error>>(
        &self,
        id: &NodeId,
        answer: PollAnswer,
        found_in: &Arc<str>,
        record_move: impl AsyncFnOnce(Move) -> Result<(), E>,
    ) -> Result<bool, E> {
        let PollAnswer {
            mut registration,
            mut heartbeat,
        } = answer;
        let modules = registration.modules.take();
        heartbeat.boot.clone_from(&registration.boot);
        // One that was deregistered, and is there again, registers anew.
        let is_back = heartbeat.health != NodeHealth::Stopping && self.has_stopped(id);
        if !is_back && self.is_same(id, &registration, found_in)? {
            heartbeat.modules = modules;
            self.heartbeat(id, heartbeat)?;
            return Ok(false);
        }
        registration.modules = modules;
        let source = Some(Arc::clone(found_in));
        self.register_from(id.clone(), registration, source, record_move)
            .await?;
        // A registration says nothing of its health.
        self.heartbeat(id, heartbeat)?;
        Ok(true)
    }

    /// No source lists a node any more, and it does not answer: it is as if it had said that it stops.
    /// Does nothing for one that reports in by itself. Returns whether that was new.
    pub fn was_deregistered(&self, id: &NodeId) -> bool {
        let moment = self.inner.moment();
        let mut nodes = self.write();
        let Some(entry) = nodes.get_mut(id) else {
            return false;
        };
        if entry.found_in.is_none() || entry.has_stopped() {
            return false;
        }
        entry.last_report = Some(Report {
            health: NodeHealth::Stopping,
            reason: None,
        });
        self.notify_if_changed(id, entry, moment);
        true
    }

    /// Whether a registration would change nothing of a node that was found in this source.
    fn is_same(
        &self,
        id: &NodeId,
        registration: &Registration,
        found_in: &Arc<str>,
    ) -> Result<bool, Error> {
        let selectors = self.environment_selectors();
        let now = self.inner.clock.now();
        let (mut record, _) =
            validate_registration(id.clone(), registration.clone(), &selectors, now)?;
        let nodes = self.read();
        let Some(entry) = nodes.get(id) else {
            return Ok(false);
        };
        record.registered_at = entry.record.registered_at;
        Ok(entry.boot == registration.boot
            && entry.found_in.as_ref() == Some(found_in)
            && *entry.record == record)
    }
}
