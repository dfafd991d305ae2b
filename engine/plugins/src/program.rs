use std::pin::pin;
use std::sync::{Arc, OnceLock};

use hotswap_core::{Call, Cause, CauseKind};
use wasmtime::component::Component;

use crate::bindings::StrategyPre;
use crate::bindings::exports::hotswap::strategy::guest;
use crate::drive::{End, drive};
use crate::engine::Linked;
use crate::host::Shared;
use crate::state::{State, store};
use crate::strategy::{Calls, Stop};

/// A component, compiled and linked, with the host that it runs in.
pub(crate) struct Program {
    shared: Arc<Shared>,
    pooled: StrategyPre<State>,
    /// The same for when the pool is full; most strategies never need it.
    on_demand: OnceLock<wasmtime::Result<StrategyPre<State>>>,
}

/// Answers nothing: for `describe`, which may not call.
struct Nobody;

impl Program {
    pub(crate) fn new(shared: Arc<Shared>, pooled: StrategyPre<State>) -> Self {
        Self {
            shared,
            pooled,
            on_demand: OnceLock::new(),
        }
    }

    /// What the component says of itself.
    pub(crate) async fn describe(&self) -> Result<guest::Descriptor, End> {
        // It cannot wait, so it takes no turn from those that run.
        match self.describe_in(&self.pooled).await {
            Err(End::Full) => self.describe_in(self.on_demand()?).await,
            end => end,
        }
    }

    /// Runs the component in an instance of its own, when its turn has come. Cancel safe:
    /// dropping the future drops the instance.
    pub(crate) async fn run(
        &self,
        plan: &guest::Plan,
        calls: &mut dyn Calls,
    ) -> Result<Result<(), String>, End> {
        // Nobody closes it, so there is a permit.
        let _turn = self.shared.room.acquire().await;
        match self.run_in(&self.pooled, plan, calls).await {
            Err(End::Full) => self.run_in(self.on_demand()?, plan, calls).await,
            end => end,
        }
    }

    async fn describe_in(&self, program: &StrategyPre<State>) -> Result<guest::Descriptor, End> {
        let limits = &self.shared.limits;
        let (mut store, mailbox) = store(program.engine(), limits);
        let guest = pin!(async move {
            let instance = program.instantiate_async(&mut store).await?;
            let guest = instance.hotswap_strategy_guest();
            guest.call_describe(&mut store).await
        });
        drive(guest, &mailbox, &mut Nobody, limits.compute).await
    }

    async fn run_in(
        &self,
        program: &StrategyPre<State>,
        plan: &guest::Plan,
        calls: &mut dyn Calls,
    ) -> Result<Result<(), String>, End> {
        let limits = &self.shared.limits;
        let (mut store, mailbox) = store(program.engine(), limits);
        let guest = pin!(async move {
            let instance = program.instantiate_async(&mut store).await?;
            let guest = instance.hotswap_strategy_guest();
            guest.call_run(&mut store, plan).await
        });
        drive(guest, &mailbox, calls, limits.compute).await
    }

    fn on_demand(&self) -> Result<&StrategyPre<State>, End> {
        self.on_demand
            .get_or_init(|| copy(&self.pooled, &self.shared.on_demand))
            .as_ref()
            .map_err(|error| {
                let message = format!("there is no room for another strategy: {error}");
                End::Trapped(Cause::new(CauseKind::Unavailable, message))
            })
    }
}

/// The same code in another engine, without compiling it again.
fn copy(program: &StrategyPre<State>, to: &Linked) -> wasmtime::Result<StrategyPre<State>> {
    let code = program.instance_pre().component().serialize()?;
    // SAFETY: these bytes were made one line above by the same wasmtime from a component
    // that it compiled itself, and nobody has touched them.
    let component = unsafe { Component::deserialize(&to.engine, code)? };
    StrategyPre::new(to.linker.instantiate_pre(&component)?)
}

#[async_trait::async_trait]
impl Calls for Nobody {
    async fn call(&mut self, call: Call) -> Result<hotswap_core::Answer, Stop> {
        let message = format!("it calls {}", call.name());
        Err(Stop::Fail(Cause::new(CauseKind::Violation, message)))
    }
}
