//! How nodes report in: registrations and heartbeats.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use hotswap_core::{Health, NodeId};
use hotswap_protocol::{
    Heartbeat, HeartbeatAnswer, ModuleReport, NodeHealth, Readiness, Registered, Registration,
};
use hotswap_store::NodeRecord;
use reqwest::Url;

use super::Registry;
use super::claim::{Claimant, may_take};
use super::error::Error;
use super::member::{Member, Move};
use super::node_entry::{NodeEntry, Report, silence};
use super::report::{ModuleStates, parse_modules};
use super::validate::{check_peer, parse_control_url, truncate_reason, validate_registration};
use super::wire::{to_wire_cordon, to_wire_desired};

impl Registry {
    /// Checks that a registration from `peer`, the address of another machine, does not lead
    /// back to this one.
    ///
    /// # Errors
    /// [`Error::Invalid`], with what to change.
    pub fn check_peer(registration: &Registration, peer: IpAddr) -> Result<(), Error> {
        check_peer(registration, peer)
    }

    /// Registers a node, or updates its registration. Counts as a passing heartbeat. The
    /// registration is durable once this returns.
    ///
    /// Safe to repeat, also after it was cancelled.
    ///
    /// # Errors
    /// - [`Error::Invalid`] if the registration is invalid.
    /// - [`Error::Taken`] if another node with this id reports in.
    /// - [`Error::Save`] if the store failed.
    pub async fn register(
        &self,
        id: NodeId,
        registration: Registration,
    ) -> Result<Registered, Error> {
        let nothing = async |_: Move| Ok(());
        self.register_recording(id, registration, nothing).await
    }

    /// As [`Self::register`]. Where the node belonged to another environment before, calls
    /// `record_move` first, before anything is stored.
    ///
    /// # Errors
    /// Those of [`Self::register`], and that of `record_move`; the node is then not registered.
    pub async fn register_recording<E: From<Error>>(
        &self,
        id: NodeId,
        registration: Registration,
        record_move: impl AsyncFnOnce(Move) -> Result<(), E>,
    ) -> Result<Registered, E> {
        self.register_from(id, registration, None, record_move)
            .await
    }

    /// As [`Self::register_recording`], for a node that the engine asks: `found_in` is the source
    /// that it was found in.
    pub(super) async fn register_from<E: From<Error>>(
        &self,
        id: NodeId,
        mut registration: Registration,
        found_in: Option<Arc<str>>,
        record_move: impl AsyncFnOnce(Move) -> Result<(), E>,
    ) -> Result<Registered, E> {
        let reported = registration.modules.take();
        let modules = reported.clone().map(parse_modules).transpose()?;
        let boot = registration.boot.clone();
        let selectors = self.environment_selectors();
        let now = self.inner.clock.now();
        let (mut record, control_url) =
            validate_registration(id.clone(), registration, &selectors, now)?;
        let _save_guard = self.inner.save_lock(&id).lock().await;
        let claimant = Claimant {
            boot: boot.as_deref(),
            instance: record.instance.as_deref(),
        };
        let (previous, replaced_boots) = self.check_claim(&id, claimant)?;
        if let Some(moved) = previous
            .as_ref()
            .and_then(|previous| find_move(previous, &record, modules.as_deref()))
        {
            record_move(moved).await?;
        }
        if let Some(previous) = &previous {
            record.registered_at = previous.record.registered_at;
            if previous.health == Health::Passing
                && previous.record.instance.is_none()
                && previous.record.control_url != record.control_url
            {
                tracing::warn!(
                    node = %id,
                    before = previous.record.control_url,
                    now = record.control_url,
                    "a passing node has registered from another address; check that no two nodes have this name"
                );
            }
        }
        if self.must_save(previous.as_ref(), &record, boot.as_deref()) {
            self.save(&record, previous.as_ref()).await?;
            let is_new = previous.is_none_or(|previous| *previous.record != record);
            if is_new {
                tracing::info!(node = %id, environment = %record.environment, control_url = record.control_url, "node registered");
            }
        }
        let entry = NodeEntry {
            last_heard: Some(self.inner.heard_now()),
            last_report: Some(Report {
                health: NodeHealth::Passing,
                reason: None,
            }),
            found_in,
            boot,
            replaced_boots,
            modules,
            notified_health: Health::Passing,
            ..NodeEntry::unheard(record, control_url)
        };
        let record = Arc::clone(&entry.record);
        let mut nodes = self.write();
        if self.inner.exchange.is_some() && entry.found_in.is_none() {
            self.share(&entry, first_heartbeat(reported));
        }
        let replaced = nodes.insert(id.clone(), entry);
        if replaced.is_none_or(|entry| entry.notified_health != Health::Passing) {
            self.notify(id.clone(), Some(Health::Passing));
        }
        drop(nodes);
        // It may have another address or other labels.
        self.inner.members_changed.send_modify(|count| *count += 1);
        self.inner.reports.send_modify(|count| *count += 1);
        let HeartbeatAnswer { desired, cordon } = self.told(&record);
        Ok(Registered {
            heartbeat_millis: u64::try_from(self.inner.heartbeat_interval.as_millis())
                .unwrap_or(u64::MAX),
            environment: Some(record.environment.to_string()),
            desired,
            cordon,
        })
    }

    /// Checks that a claimant may have an id. Returns who had it before, and the starts of that
    /// node that the claimant replaces.
    fn check_claim(
        &self,
        id: &NodeId,
        claimant: Claimant<'_>,
    ) -> Result<(Option<Member>, VecDeque<String>), Error> {
        let moment = self.inner.moment();
        let nodes = self.read();
        let Some(holder) = nodes.get(id) else {
            return Ok((None, VecDeque::new()));
        };
        if !may_take(holder, claimant, holder.is_reporting(moment)) {
            return Err(self.taken(&holder.record));
        }
        let is_same_node = holder.record.instance.as_deref() == claimant.instance;
        let replaced = if is_same_node {
            holder.replaced_by(claimant.boot)
        } else {
            VecDeque::new()
        };
        Ok((Some(holder.member(moment)), replaced))
    }

    /// Whether the store has to be told of a registration, or asked whether another node has the
    /// id. Where engines share it, another one may have given the id away while its holder was
    /// silent, or before this engine started.
    fn must_save(
        &self,
        previous: Option<&Member>,
        record: &NodeRecord,
        boot: Option<&str>,
    ) -> bool {
        let Some(previous) = previous else {
            return true;
        };
        let reports_in = boot.is_some()
            && previous.boot.as_deref() == boot
            && matches!(previous.health, Health::Passing | Health::Warning);
        *previous.record != *record || (self.inner.exchange.is_some() && !reports_in)
    }

    /// Stores a registration. Hold the node's save lock.
    ///
    /// # Errors
    /// - [`Error::Taken`] if another engine has given the id to another node. This engine did not
    ///   know that node before; when this error is returned, it does.
    /// - [`Error::Save`] if the store failed.
    async fn save(&self, record: &NodeRecord, previous: Option<&Member>) -> Result<(), Error> {
        let mut replaces = previous.map(|previous| Arc::clone(&previous.record));
        loop {
            let catalogue = &self.inner.catalogue;
            let put = catalogue.put_node(record.clone(), replaces.as_deref());
            let stored = put.await.map_err(|source| Error::Save {
                node: record.id.clone(),
                source,
            })?;
            if stored.instance == record.instance {
                return Ok(());
            }
            let Ok(control_url) = parse_control_url(&stored.control_url) else {
                // It would have to register again, as when an engine starts.
                replaces = Some(Arc::new(stored));
                continue;
            };
            let taken = self.taken(&stored);
            self.registered_elsewhere(stored, control_url);
            return Err(taken);
        }
    }

    /// Remembers a node that has registered with another engine. It has the usual time to be heard
    /// of.
    fn registered_elsewhere(&self, record: NodeRecord, control_url: Url) {
        let mut nodes = self.write();
        let known = nodes.get(&record.id);
        if known.is_some_and(|known| known.record.instance == record.instance) {
            return;
        }
        let entry = NodeEntry {
            last_heard: Some(self.inner.heard_now()),
            ..NodeEntry::unheard(record, control_url)
        };
        nodes.insert(entry.record.id.clone(), entry);
        drop(nodes);
        self.inner.members_changed.send_modify(|count| *count += 1);
        self.inner.reports.send_modify(|count| *count += 1);
    }

    fn taken(&self, holder: &NodeRecord) -> Error {
        Error::Taken {
            node: holder.id.clone(),
            holder: holder.control_url.clone(),
            silence: silence(self.inner.heartbeat_interval),
        }
    }

    /// Records a heartbeat. `None` if the node is not known at this address, or has not
    /// registered since this engine started or since the selectors of environments changed; it must
    /// register again.
    ///
    /// # Errors
    /// - [`Error::Invalid`] if the report of the modules is invalid.
    /// - [`Error::Taken`] if another node with this id reports in. The heartbeat does not count.
    pub fn heartbeat(
        &self,
        id: &NodeId,
        heartbeat: Heartbeat,
    ) -> Result<Option<HeartbeatAnswer>, Error> {
        self.count_heartbeat(id, heartbeat, true)
    }

    /// As [`Self::heartbeat`]. `is_own`: it was sent to this engine.
    pub(super) fn count_heartbeat(
        &self,
        id: &NodeId,
        heartbeat: Heartbeat,
        is_own: bool,
    ) -> Result<Option<HeartbeatAnswer>, Error> {
        let is_shared = is_own && self.inner.exchange.is_some();
        let shared = is_shared.then(|| heartbeat.clone());
        let modules = heartbeat.modules.map(parse_modules).transpose()?;
        let heard = self.inner.heard_now();
        let moment = self.inner.moment();
        let mut nodes = self.write();
        let Some(entry) = nodes.get_mut(id) else {
            return Ok(None);
        };
        if entry.boot != heartbeat.boot {
            let is_other = entry.boot.is_some() && entry.is_reporting(moment);
            return if is_other {
                Err(self.taken(&entry.record))
            } else {
                Ok(None)
            };
        }
        let has_moved = [
            (heartbeat.control_url, &entry.record.control_url),
            (heartbeat.data_url, &entry.record.data_url),
        ]
        .into_iter()
        .any(|(now, registered)| now.is_some_and(|now| now != *registered));
        if has_moved {
            return Ok(None);
        }
        if entry.has_stopped() {
            // It was sent before, and overtaken.
            return Ok(Some(HeartbeatAnswer::default()));
        }
        // One that stops says so once.
        if is_own && entry.must_register && heartbeat.health != NodeHealth::Stopping {
            return Ok(None);
        }
        entry.last_heard = Some(heard);
        entry.unanswered = None;
        entry.readiness = heartbeat.readiness.map(|readiness| Readiness {
            reason: readiness.reason.map(truncate_reason),
            ..readiness
        });
        entry.traffic = heartbeat.traffic;
        entry.last_report = Some(Report {
            health: heartbeat.health,
            reason: heartbeat.reason.map(truncate_reason),
        });
        if modules.is_some() && modules != entry.modules {
            entry.modules = modules;
            self.inner.reports.send_modify(|count| *count += 1);
        }
        self.notify_if_changed(id, entry, moment);
        if let Some(shared) = shared.filter(|_| entry.found_in.is_none()) {
            self.share(entry, shared);
        }
        let record = Arc::clone(&entry.record);
        drop(nodes);
        Ok(Some(self.told(&record)))
    }

    /// The answer to a node: what it should run, and whether it is cordoned.
    pub(super) fn told(&self, node: &NodeRecord) -> HeartbeatAnswer {
        let provider = {
            let guard = self.inner.desired.read();
            Arc::clone(&guard.unwrap_or_else(PoisonError::into_inner))
        };
        let cordon = provider.cordon(&node.id, &node.environment);
        HeartbeatAnswer {
            desired: provider.desired(node).map(to_wire_desired),
            cordon: cordon.as_ref().map(to_wire_cordon),
        }
    }
}

/// The heartbeat that a registration counts as.
fn first_heartbeat(modules: Option<Vec<ModuleReport>>) -> Heartbeat {
    Heartbeat {
        health: NodeHealth::Passing,
        reason: None,
        highest_fence: 0,
        boot: None,
        control_url: None,
        data_url: None,
        modules,
        readiness: None,
        traffic: None,
    }
}

/// How a node moved that registers with `record` and these modules.
fn find_move(
    previous: &Member,
    record: &NodeRecord,
    modules: Option<&ModuleStates>,
) -> Option<Move> {
    if previous.record.environment == record.environment {
        return None;
    }
    let modules = modules.or(previous.modules.as_deref());
    let active = modules.into_iter().flatten();
    let active = active.filter(|(_, module)| module.active.is_some());
    Some(Move {
        node: record.id.clone(),
        from: previous.record.environment.clone(),
        to: record.environment.clone(),
        modules: active.map(|(name, _)| name.clone()).collect(),
    })
}
