//! Carries out orders, each once.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use hotswap_common::trace::{self, Kind, Span};
use hotswap_core::ModuleName;
use hotswap_protocol::{Action, LoadPhase, OrderProgress, OrderRequest, Version};

use super::loader::NewVersion;
use super::running_order::RunningOrder;
use super::{DEFAULT_STALL, Error, Modules, check_version};
use crate::data::{Route, Source};
use crate::disk::OperationLookup;
use crate::slots::Slots;

/// Longest such span that an engine can ask for.
const MAX_STALL: Duration = Duration::from_secs(24 * 60 * 60);

/// What has become of an order.
#[derive(Debug)]
pub(in crate::control) enum OrderState {
    /// It is carried out, and its outcome is on disk.
    CarriedOut,
    /// The node loads a version for it.
    InProgress(OrderProgress),
}

/// How an order begins.
enum Begun {
    CarriedOut,
    Running(Arc<RunningOrder>),
}

impl Modules {
    /// Carries out an order, once per operation. Answers with the progress if that takes longer
    /// than the order allows; the order goes on.
    ///
    /// # Guarantees
    /// When this returns [`OrderState::CarriedOut`], the outcome is on disk, and requests are
    /// routed by it. An order that has begun is finished even if this is cancelled, unless a
    /// later order of the module takes its place.
    pub(in crate::control) async fn carry_out(
        &self,
        module: ModuleName,
        operation: String,
        order: OrderRequest,
    ) -> Result<OrderState, Arc<Error>> {
        let wait = order.wait_millis.map(Duration::from_millis);
        let this = self.clone();
        let work = async move { this.begin(&module, &operation, &order).await };
        // A task does not inherit it.
        let work = trace::within(trace::current(), work);
        let begun = match self.0.tasks.spawn(work).await {
            Ok(result) => result?,
            Err(error) if error.is_panic() => return Err(Error::Panicked.into()),
            Err(_) => return Err(Error::ShuttingDown.into()),
        };
        let running = match begun {
            Begun::CarriedOut => return Ok(OrderState::CarriedOut),
            Begun::Running(running) => running,
        };
        match running.outcome(wait).await {
            Some(outcome) => outcome.map(|()| OrderState::CarriedOut),
            None => Ok(OrderState::InProgress(self.progress(&running).await)),
        }
    }

    /// Carries an order out, or begins to load the version that it needs.
    async fn begin(
        &self,
        module: &ModuleName,
        operation: &str,
        order: &OrderRequest,
    ) -> Result<Begun, Error> {
        let mut running = self.0.locks.lock(module).await;
        let route = self.0.store.route(module);
        let record = &route.record;
        if order.fence < record.fence {
            return Err(Error::Fenced {
                fence: order.fence,
                highest: record.fence,
            });
        }
        match record.look_up_operation(operation, &order.action) {
            OperationLookup::Completed => {
                self.raise_fence(module, &route, order.fence).await?;
                return Ok(Begun::CarriedOut);
            }
            OperationLookup::IdReused => {
                return Err(Error::OperationIdReused(operation.to_owned()));
            }
            OperationLookup::New => {}
        }
        if let Some(current) = &*running {
            if current.operation == operation {
                if current.order.action != order.action {
                    return Err(Error::OperationIdReused(operation.to_owned()));
                }
                current.raise_fence(order.fence);
                let current = current.clone();
                self.raise_fence(module, &route, order.fence).await?;
                return Ok(Begun::Running(current));
            }
            // A revert must not wait for a fetch.
            current.cancel.cancel();
            *running = None;
        }

        let started = Instant::now();
        let needed = match needed_version(&order.action, &route) {
            Ok(needed) => needed,
            Err(error) => {
                // A failed order still proves that its sender has taken over.
                self.raise_fence(module, &route, order.fence).await?;
                return Err(error);
            }
        };
        let Some(version) = needed else {
            self.apply(module, &route, operation, order, order.fence, None)
                .await?;
            log_carried_out(module, operation, order, started);
            self.0.changed.notify_one();
            return Ok(Begun::CarriedOut);
        };
        self.raise_fence(module, &route, order.fence).await?;
        let stall = order.stall_millis.map(Duration::from_millis);
        let begun = RunningOrder::new(
            operation,
            order,
            version,
            stall.unwrap_or(DEFAULT_STALL).min(MAX_STALL),
            self.0.shutdown.child_token(),
        );
        *running = Some(begun.clone());
        let (this, module, order) = (self.clone(), module.clone(), begun.clone());
        let load = async move {
            let outcome = without_panic(this.load_and_apply(&module, &order)).await;
            if matches!(outcome, Err(Error::Panicked)) {
                this.give_up(&module, &order).await;
            }
            if outcome.is_ok() {
                log_carried_out(&module, &order.operation, &order.order, started);
                this.0.changed.notify_one();
            }
            order.finish(outcome.map_err(Arc::new));
        };
        self.0.tasks.spawn(trace::within(trace::current(), load));
        Ok(Begun::Running(begun))
    }

    /// Loads the version that an order needs, then carries the order out, unless a later one
    /// has taken its place.
    async fn load_and_apply(
        &self,
        module: &ModuleName,
        running: &Arc<RunningOrder>,
    ) -> Result<(), Error> {
        let counters = self.0.store.route(module).counters_for(&running.version);
        let loader = &self.0.loader;
        let source = match running.order.action {
            Action::Restart(_) => Source::Disk,
            _ => Source::Memory,
        };
        let load = loader.load(module, &running.version, counters, running.stall, source);
        let loaded = tokio::select! {
            loaded = load => loaded,
            () = running.cancel.cancelled() => Err(self.cancelled()),
        };
        let mut current = self.0.locks.lock(module).await;
        if running.cancel.is_cancelled() {
            return Err(self.cancelled());
        }
        *current = None;
        let new = loaded?;
        let route = self.0.store.route(module);
        let (operation, order) = (&running.operation, &running.order);
        self.apply(module, &route, operation, order, running.fence(), Some(new))
            .await
    }

    /// Makes room for the next order, which may be this one again.
    async fn give_up(&self, module: &ModuleName, order: &Arc<RunningOrder>) {
        let mut running = self.0.locks.lock(module).await;
        drop(running.take_if(|current| Arc::ptr_eq(current, order)));
    }

    fn cancelled(&self) -> Error {
        if self.0.shutdown.is_cancelled() {
            return Error::ShuttingDown;
        }
        Error::Superseded
    }

    /// Saves and publishes the slots after an order. Call it with the module's lock.
    async fn apply(
        &self,
        module: &ModuleName,
        route: &Route,
        operation: &str,
        order: &OrderRequest,
        fence: u64,
        new: Option<NewVersion>,
    ) -> Result<(), Error> {
        let action = &order.action;
        let slots = route.record.slots.next(action)?;
        let record = &route.record;
        let changes_active = slots.active != record.slots.active;
        let fence = fence.max(record.fence);
        let now = self.now();
        let record = record.with_completed_operation(operation, action, fence, slots, now);
        let next = route.with_slots(record, new.as_ref().map(|new| &new.loaded));
        let mut span = Span::child(action_span(action), Kind::Internal);
        span.set_text("hotswap.module.name", module);
        // Another order does not change which version serves: the node stays as ready as it was.
        if changes_active {
            self.0.desired.order(module.as_str());
        }
        let saved = span.run(self.0.store.save_and_publish(module, next)).await;
        span.fail_on_error(&saved);
        drop(span);
        saved?;
        if let Some(new) = &new {
            let version = new.loaded.version();
            self.0.faults.clear(module.as_str(), version);
        }
        self.0.store.mend(module).await;
        if matches!(action, Action::Settle(_) | Action::Revert(_)) {
            self.remove_unused_artifacts().await;
        }
        Ok(())
    }

    /// Saves a fence if it is higher than the record's.
    async fn raise_fence(
        &self,
        module: &ModuleName,
        route: &Route,
        fence: u64,
    ) -> Result<(), Error> {
        if fence <= route.record.fence {
            return Ok(());
        }
        let next = route.with_record(route.record.with_fence(fence));
        self.0.store.save_and_publish(module, next).await
    }

    async fn progress(&self, running: &RunningOrder) -> OrderProgress {
        let Some(digest) = running.digest() else {
            return OrderProgress {
                phase: LoadPhase::Compiling,
                received_bytes: 0,
                total_bytes: None,
            };
        };
        let artifacts = &self.0.artifacts;
        if let Some(progress) = artifacts.fetch_progress(digest) {
            return OrderProgress {
                phase: LoadPhase::Fetching,
                received_bytes: progress.received,
                total_bytes: progress.total,
            };
        }
        let size = artifacts.size(digest).await;
        OrderProgress {
            // Without a file, the fetch is about to begin.
            phase: if size.is_some() {
                LoadPhase::Compiling
            } else {
                LoadPhase::Fetching
            },
            received_bytes: size.unwrap_or(0),
            total_bytes: size,
        }
    }
}

/// The outcome of an order's work, also where that panics: the engine would wait for ever for an
/// order that never ends.
async fn without_panic(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    outcome.unwrap_or(Err(Error::Panicked))
}

/// The version that must be loaded before an order can be carried out. `None` if there is
/// none, or it is loaded.
///
/// # Errors
/// If the order does not fit the slots, or its version is not valid.
fn needed_version(action: &Action, route: &Route) -> Result<Option<Version>, Error> {
    let version = match action {
        Action::Stage(stage) => Some(&stage.version),
        Action::Shift(shift) => Some(&shift.version),
        Action::Promote(promote) => Some(&promote.version),
        Action::Revert(revert) => revert.to.as_ref(),
        Action::Restart(restart) => Some(&restart.version),
        Action::Settle(_) => None,
    };
    if let Some(version) = version {
        check_version(version)?;
    }
    let slots: &Slots = &route.record.slots;
    slots.next(action)?;
    // A revert to the active version changes nothing that serves: where that version cannot
    // be loaded, it was so before the deployment.
    let stays = matches!(action, Action::Revert(_)) && slots.active.as_ref() == version;
    let loads_anew = matches!(action, Action::Restart(_));
    let is_needed = |version: &&Version| loads_anew || route.find_loaded(version).is_none();
    let needed = version.filter(|version| !stays && is_needed(version));
    Ok(needed.cloned())
}

/// The span of the moment at which an order takes effect.
fn action_span(action: &Action) -> &'static str {
    match action {
        Action::Stage(_) => "slots.stage",
        Action::Shift(_) => "slots.shift",
        Action::Promote(_) => "slots.promote",
        Action::Revert(_) => "slots.revert",
        Action::Restart(_) => "slots.restart",
        Action::Settle(_) => "slots.settle",
    }
}

fn log_carried_out(module: &ModuleName, operation: &str, order: &OrderRequest, started: Instant) {
    tracing::info!(%module, operation, action = ?order.action, elapsed = ?started.elapsed(),
        "order carried out");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_whose_work_panics_ends_with_an_error() {
        let panics = async {
            tokio::task::yield_now().await;
            panic!("as the test wants")
        };
        let outcome = without_panic(panics).await;
        assert!(matches!(outcome, Err(Error::Panicked)), "{outcome:?}");
        let outcome = without_panic(async { Err(Error::Superseded) }).await;
        assert!(matches!(outcome, Err(Error::Superseded)), "{outcome:?}");
        assert!(without_panic(async { Ok(()) }).await.is_ok());
    }
}
