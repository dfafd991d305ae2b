use std::sync::Arc;
use std::time::Duration;

use hotswap_common::Backoff;
use hotswap_core::Clock;
use hotswap_fleet::discovery::Error;
use hotswap_plugins::discovery::{
    BackendComponent, BackendError, BackendInstance, BackendSettings, HealthCheck, InstanceHealth,
    Registration, RegistryError,
};
use tokio::sync::watch;

use super::{to_error, to_start_error};

/// Keeps an instance registered: registers it, reports its health, and registers it again where
/// the registry has lost it.
pub struct Registrar {
    component: BackendComponent,
    settings: BackendSettings,
    registration: Registration,
    clock: Arc<dyn Clock>,
    options: RegistrarOptions,
    instance: Option<BackendInstance>,
    is_registered: bool,
    /// Why the registration is not in order.
    failure: watch::Sender<Option<Error>>,
}

/// When a [`Registrar`] acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrarOptions {
    /// How often the health is reported. Less than a third of the registration's TTL.
    pub interval: Duration,
    /// The shortest wait after a failure.
    pub min_retry: Duration,
    /// The longest wait after a failure, without its jitter. Less than a third of the TTL.
    pub max_retry: Duration,
}

impl RegistrarOptions {
    /// Suits a registration with this TTL: three reports may be lost.
    pub fn for_ttl(ttl: Duration) -> Self {
        Self {
            interval: ttl / 4,
            min_retry: (ttl / 20).min(Duration::from_millis(500)),
            max_retry: ttl / 8,
        }
    }
}

impl Registrar {
    /// Registers through instances of `component` with these settings. Nothing is registered
    /// before [`Self::run`].
    pub fn new(
        component: BackendComponent,
        settings: BackendSettings,
        registration: Registration,
        clock: Arc<dyn Clock>,
        options: RegistrarOptions,
    ) -> Self {
        Self {
            component,
            settings,
            registration,
            clock,
            options,
            instance: None,
            is_registered: false,
            failure: watch::Sender::new(None),
        }
    }

    /// Why the registration is not in order; `None` while it is, and before the first attempt.
    pub fn failure(&self) -> watch::Receiver<Option<Error>> {
        self.failure.subscribe()
    }

    /// Keeps the instance registered until `stop` resolves, then deregisters it. One attempt:
    /// what cannot be deregistered expires.
    ///
    /// # Errors
    /// Why it was not deregistered.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let mut stop = std::pin::pin!(stop);
        let mut retry = Backoff::new(self.options.min_retry, self.options.max_retry);
        loop {
            let step = tokio::select! {
                step = self.step() => step,
                () = &mut stop => break,
            };
            let pause = match step {
                Ok(()) => {
                    retry.reset();
                    self.failure
                        .send_if_modified(|failure| failure.take().is_some());
                    self.options.interval
                }
                Err(error) => {
                    let delay = retry.next_delay();
                    let id = &*self.registration.id;
                    tracing::warn!(id, %error, ?delay, "cannot keep the registration; trying again");
                    self.failure.send_replace(Some(error));
                    delay
                }
            };
            let until = self.clock.instant() + pause;
            tokio::select! {
                () = self.clock.sleep_until(until) => {}
                () = &mut stop => break,
            }
        }
        self.deregister().await
    }

    /// Registers the instance, or reports that it is alive.
    async fn step(&mut self) -> Result<(), Error> {
        let mut instance = self.take_instance().await?;
        let is_kept_alive = matches!(self.registration.check, Some(HealthCheck::Ttl(_)));
        let mut done = Ok(());
        if self.is_registered && is_kept_alive {
            let (service, id) = self.names();
            let alive = instance.heartbeat(service, id, InstanceHealth::Passing);
            done = alive.await;
        }
        let is_lost = matches!(&done, Err(BackendError::Registry(RegistryError::NotFound)));
        // One without a TTL is registered again each time: nothing else tells whether it is lost.
        if is_lost || !self.is_registered || !is_kept_alive {
            self.is_registered = false;
            done = instance.register(self.registration.clone()).await;
        }
        self.keep(instance, &done);
        done.map_err(|error| to_error(&error))?;
        self.is_registered = true;
        Ok(())
    }

    async fn deregister(mut self) -> Result<(), Error> {
        let mut instance = self.take_instance().await?;
        let (service, id) = self.names();
        let done = instance.deregister(service, id).await;
        done.map_err(|error| to_error(&error))
    }

    fn names(&self) -> (String, String) {
        let registration = &self.registration;
        (registration.service.clone(), registration.id.clone())
    }

    async fn take_instance(&mut self) -> Result<BackendInstance, Error> {
        match self.instance.take() {
            Some(instance) => Ok(instance),
            None => {
                let started = self.component.start(self.settings.clone()).await;
                started.map_err(|error| to_start_error(&error))
            }
        }
    }

    fn keep(&mut self, instance: BackendInstance, done: &Result<(), BackendError>) {
        if !done.as_ref().is_err_and(BackendError::has_ended) {
            self.instance = Some(instance);
        }
    }
}
