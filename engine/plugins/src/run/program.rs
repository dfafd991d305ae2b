use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use hotswap_core::{Answer, Call, Cause, CauseKind, StrategyLimits};
use wasmtime::component::Component;
use wasmtime::{PoolConcurrencyLimitError, Trap};

use super::cause::{RunTermination, truncate};
use super::context::HostContext;
use super::convert;
use super::drive::{FuelLimits, Guest, drive};
use super::engine::LinkedEngine;
use super::interface::{CallHandler, Exit, NotInstantiated, Plan, RunError, Stop};
use super::state::{InstanceState, new_store};
use crate::bindings::StrategyPre;
use crate::bindings::exports::hotswap::strategy::guest;
use crate::limits::whole_pages;

/// A compiled and linked component, ready to run. Each run gets an instance of its own.
pub(crate) struct Program {
    context: Arc<HostContext>,
    pooled: StrategyPre<InstanceState>,
    /// The same code for when the pool is full. Made on first use: most strategies never
    /// need it.
    on_demand: OnceLock<StrategyPre<InstanceState>>,
}

/// Ends the run at the first call: `describe` may not make any.
struct RejectCalls;

impl Program {
    pub(crate) fn new(context: Arc<HostContext>, pooled: StrategyPre<InstanceState>) -> Self {
        Self {
            context,
            pooled,
            on_demand: OnceLock::new(),
        }
    }

    /// Calls the component's `describe`.
    pub(crate) async fn describe(&self) -> Result<guest::Descriptor, RunError> {
        // Takes no run permit: `describe` cannot wait, so it is over soon.
        match self.describe_in(&self.pooled).await {
            Err(RunError::PoolFull) => self.describe_in(self.on_demand()?).await,
            result => result,
        }
    }

    /// Waits for a run permit, then calls the component's `run` in a new instance.
    ///
    /// Cancel safe: dropping the future drops the instance. One that computes is dropped at the
    /// end of its slice of fuel.
    pub(crate) async fn run(&self, plan: &Plan, handler: &mut dyn CallHandler) -> Exit {
        let (plan, limits) = (Arc::new(convert::plan_to_wit(plan)), plan.limits);
        // The semaphore is never closed, so this is always a permit.
        let _permit = self.context.run_permits.acquire().await;
        let result = match self.run_in(&self.pooled, (&plan, limits), handler).await {
            Err(RunError::PoolFull) => match self.on_demand() {
                Ok(on_demand) => self.run_in(on_demand, (&plan, limits), handler).await,
                Err(error) => Err(error),
            },
            result => result,
        };
        match result {
            Ok(Ok(())) => Exit::Succeeded,
            Ok(Err(reason)) => Exit::Failed(truncate(&reason).to_owned()),
            Err(RunError::Trapped(cause)) => Exit::Trapped(cause),
            Err(RunError::Stopped(stop)) => Exit::Stopped(stop),
            Err(RunError::NoRoom(reason)) => Exit::NoRoom(reason),
            // Cannot happen: the on-demand engine has no pool.
            Err(RunError::PoolFull) => Exit::Stopped(Stop::Suspend),
        }
    }

    async fn describe_in(
        &self,
        component: &StrategyPre<InstanceState>,
    ) -> Result<guest::Descriptor, RunError> {
        let limits = &self.context.limits;
        let store = new_store(component.engine(), limits.max_memory());
        let (mut store, mailbox) = store.map_err(|error| RunError::NoRoom(format!("{error:#}")))?;
        let component = component.clone();
        let guest = Guest::new(mailbox, async move {
            let instance = component.instantiate_async(&mut store).await;
            let instance = instance.map_err(mark_not_instantiated)?;
            let guest = instance.hotswap_strategy_guest();
            guest.call_describe(&mut store).await
        });
        // It makes no call, so the whole run is between two of them.
        let fuel = FuelLimits {
            between_calls: limits.fuel,
            total: u64::MAX,
        };
        drive(guest, &self.context.threads, &mut RejectCalls, fuel).await
    }

    async fn run_in(
        &self,
        component: &StrategyPre<InstanceState>,
        (plan, limits): (&Arc<guest::Plan>, StrategyLimits),
        handler: &mut dyn CallHandler,
    ) -> Result<Result<(), String>, RunError> {
        let memory = usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX);
        let store = new_store(component.engine(), whole_pages(memory));
        let (mut store, mailbox) = store.map_err(|error| RunError::NoRoom(format!("{error:#}")))?;
        let (component, plan) = (component.clone(), Arc::clone(plan));
        let guest = Guest::new(mailbox, async move {
            let instance = component.instantiate_async(&mut store).await;
            let instance = instance.map_err(mark_not_instantiated)?;
            let guest = instance.hotswap_strategy_guest();
            guest.call_run(&mut store, &plan).await
        });
        drive(guest, &self.context.threads, handler, limits.into()).await
    }

    fn on_demand(&self) -> Result<&StrategyPre<InstanceState>, RunError> {
        if let Some(made) = self.on_demand.get() {
            return Ok(made);
        }
        // A failure is not kept: the next run tries again.
        let made = copy_to_engine(&self.pooled, &self.context.on_demand);
        let made = made.map_err(|error| RunError::NoRoom(format!("{error:#}")))?;
        Ok(self.on_demand.get_or_init(|| made))
    }
}

/// Marks an error of the host, which has no room for the instance. An error of the guest's own
/// start function stays as it is.
fn mark_not_instantiated(error: wasmtime::Error) -> wasmtime::Error {
    let is_of_guest = error.is::<Trap>() || error.is::<RunTermination>();
    if is_of_guest || error.is::<PoolConcurrencyLimitError>() {
        error
    } else {
        error.context(NotInstantiated)
    }
}

/// Links the code of `component` in another engine, without compiling it again.
fn copy_to_engine(
    component: &StrategyPre<InstanceState>,
    target: &LinkedEngine,
) -> wasmtime::Result<StrategyPre<InstanceState>> {
    let code = component.instance_pre().component().serialize()?;
    // SAFETY: the line above serialized these bytes, with the same wasmtime, from a component
    // that it compiled itself. Nothing has modified them since.
    let component = unsafe { Component::deserialize(&target.engine, code)? };
    StrategyPre::new(target.linker.instantiate_pre(&component)?)
}

#[async_trait]
impl CallHandler for RejectCalls {
    async fn call(&mut self, call: Call) -> Result<Answer, Stop> {
        let message = format!("it calls {}", call.name());
        Err(Stop::Fail(Cause::new(CauseKind::Violation, message)))
    }
}
