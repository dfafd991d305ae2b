use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use wasmtime::Store;

use super::bindings::exports::hotswap::discovery::backend::Descriptor;
use super::bindings::hotswap::discovery::types::{
    Error as RegistryError, Health, Registration, Snapshot,
};
use super::bindings::{Discovery, DiscoveryPre};
use super::context::DiscoveryContext;
use super::error::BackendError;
use super::limits::BackendLimits;
use super::outgoing::Outgoing;
use super::refusals::RefusalsOfCall;
use super::state::{BackendState, begin_call, explain, new_store};

/// A running instance of a discovery backend. It takes one call at a time, so a watch that waits
/// needs an instance of its own.
///
/// An instance that crashed, exceeded a limit, did not return in time, or whose call was
/// cancelled has ended: every later call is [`BackendError::Ended`].
pub struct BackendInstance {
    context: Arc<DiscoveryContext>,
    limits: BackendLimits,
    /// `None` once it has ended.
    running: Option<Running>,
}

struct Running {
    store: Store<BackendState>,
    exports: Discovery,
}

type CallFuture<'a, R> = Pin<Box<dyn Future<Output = wasmtime::Result<R>> + Send + 'a>>;

impl BackendInstance {
    pub(super) async fn start(
        context: Arc<DiscoveryContext>,
        program: &DiscoveryPre<BackendState>,
        outgoing: Arc<Outgoing>,
    ) -> Result<Self, BackendError> {
        let no_room = |error: wasmtime::Error| BackendError::NoRoom(format!("{error:#}"));
        let limits = outgoing.limits.clone();
        let mut store = new_store(&context.engine, outgoing).map_err(no_room)?;
        begin_call(&mut store, &limits).map_err(no_room)?;
        let (program, within) = (program.clone(), limits.call_timeout);
        let explained = limits.clone();
        let started = context.threads.run(async move {
            let started = timeout(within, program.instantiate_async(&mut store)).await;
            match started {
                Ok(Ok(exports)) => Ok(Running { store, exports }),
                Ok(Err(error)) => {
                    let cause = explain(&error, store.data(), &explained);
                    Err(BackendError::Crashed(cause))
                }
                Err(_) => Err(BackendError::TimedOut(within)),
            }
        });
        let started = started.await.unwrap_or_else(|| Err(threads_ended()));
        Ok(Self {
            running: Some(started?),
            context,
            limits,
        })
    }

    pub(super) async fn describe(&mut self) -> Result<Descriptor, BackendError> {
        self.call(Duration::ZERO, |running| {
            let Running { store, exports } = running;
            Box::pin(exports.hotswap_discovery_backend().call_describe(store))
        })
        .await
    }

    pub(super) async fn configure(&mut self, config: String) -> Result<(), BackendError> {
        self.ask(Duration::ZERO, move |running| {
            let Running { store, exports } = running;
            let backend = exports.hotswap_discovery_backend();
            Box::pin(async move { backend.call_configure(store, &config).await })
        })
        .await
    }

    /// Registers an instance, or replaces the one with its id.
    ///
    /// # Errors
    /// [`BackendError`], with the registry's reason.
    pub async fn register(&mut self, registration: Registration) -> Result<(), BackendError> {
        self.ask(Duration::ZERO, move |running| {
            let Running { store, exports } = running;
            let backend = exports.hotswap_discovery_backend();
            Box::pin(async move { backend.call_register(store, &registration).await })
        })
        .await
    }

    /// Reports the health of a registered instance.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] if the registry has lost it: register it again. Others as
    /// for [`Self::register`].
    pub async fn heartbeat(
        &mut self,
        service: String,
        id: String,
        health: Health,
    ) -> Result<(), BackendError> {
        self.ask(Duration::ZERO, move |running| {
            let Running { store, exports } = running;
            let backend = exports.hotswap_discovery_backend();
            Box::pin(async move { backend.call_heartbeat(store, &service, &id, health).await })
        })
        .await
    }

    /// Removes an instance. Succeeds where it is not registered.
    ///
    /// # Errors
    /// As for [`Self::register`].
    pub async fn deregister(&mut self, service: String, id: String) -> Result<(), BackendError> {
        self.ask(Duration::ZERO, move |running| {
            let Running { store, exports } = running;
            let backend = exports.hotswap_discovery_backend();
            Box::pin(async move { backend.call_deregister(store, &service, &id).await })
        })
        .await
    }

    /// The instances of a service: without a cursor at once, with one after a change, at most
    /// after `patience`.
    ///
    /// # Errors
    /// As for [`Self::register`].
    pub async fn watch(
        &mut self,
        service: String,
        cursor: Option<String>,
        patience: Duration,
    ) -> Result<Snapshot, BackendError> {
        let millis = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.ask(patience, move |running| {
            let Running { store, exports } = running;
            let backend = exports.hotswap_discovery_backend();
            Box::pin(async move {
                let cursor = cursor.as_deref();
                backend.call_watch(store, &service, cursor, millis).await
            })
        })
        .await
    }

    async fn ask<R: Send + 'static>(
        &mut self,
        patience: Duration,
        call: impl for<'a> FnOnce(&'a mut Running) -> CallFuture<'a, Result<R, RegistryError>>
        + Send
        + 'static,
    ) -> Result<R, BackendError> {
        self.call(patience, call)
            .await?
            .map_err(BackendError::Registry)
    }

    /// Makes a call on the threads of the host.
    async fn call<R: Send + 'static>(
        &mut self,
        patience: Duration,
        call: impl for<'a> FnOnce(&'a mut Running) -> CallFuture<'a, R> + Send + 'static,
    ) -> Result<R, BackendError> {
        // It comes back only if the call returns.
        let mut running = self.running.take().ok_or(BackendError::Ended)?;
        let limits = self.limits.clone();
        let within = patience.saturating_add(limits.call_timeout);
        let called = self.context.threads.run(async move {
            if let Err(error) = begin_call(&mut running.store, &limits) {
                return Err(BackendError::NoRoom(format!("{error:#}")));
            }
            let outgoing = Arc::clone(&running.store.data().outgoing);
            let _refusals = RefusalsOfCall::begin(outgoing);
            match timeout(within, call(&mut running)).await {
                Ok(Ok(returned)) => Ok((running, returned)),
                Ok(Err(error)) => {
                    let cause = explain(&error, running.store.data(), &limits);
                    Err(BackendError::Crashed(cause))
                }
                Err(_) => Err(BackendError::TimedOut(within)),
            }
        });
        let (running, returned) = called.await.unwrap_or_else(|| Err(threads_ended()))?;
        self.running = Some(running);
        Ok(returned)
    }
}

fn threads_ended() -> BackendError {
    BackendError::NoRoom("the threads for discovery have stopped".to_owned())
}

impl fmt::Debug for BackendInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendInstance")
            .field("has_ended", &self.running.is_none())
            .finish_non_exhaustive()
    }
}
