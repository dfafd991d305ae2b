use std::sync::Arc;
use std::time::Duration;

use hotswap_common::Backoff;
use hotswap_core::Clock;
use hotswap_fleet::discovery::{Error, ErrorKind};
use hotswap_plugins::discovery::{
    BackendComponent, BackendError, BackendInstance, BackendSettings, HealthCheck, InstanceHealth,
    Registration, RegistryError,
};
use tokio::sync::watch;
use tokio::time::timeout;

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
    /// What is reported of the instance.
    health: watch::Receiver<InstanceHealth>,
    /// Keeps `health` open where nobody changes it.
    _always: Option<watch::Sender<InstanceHealth>>,
    /// Why the registration is not in order.
    failure: watch::Sender<Option<Error>>,
}

/// How much of the time-out of a step one call of the component may take.
const CALL_SHARE: f64 = 0.9;

/// When a [`Registrar`] acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrarOptions {
    /// How often the health is reported: less than a third of the registration's TTL. Without a TTL,
    /// how often the instance is registered again.
    pub interval: Duration,
    /// The shortest wait after a failure.
    pub min_retry: Duration,
    /// The longest wait after a failure, without its jitter. Less than a third of the TTL.
    pub max_retry: Duration,
    /// How long the registry may take to register the instance, or to hear that it is alive. So
    /// long that another server of the registry can be asked where the first ones hang, and at most
    /// a third of the TTL.
    pub timeout: Duration,
    /// How long the registry may take to deregister it. Short: a stop must not wait for a registry
    /// that hangs. What is not deregistered expires.
    pub stop_timeout: Duration,
}

impl RegistrarOptions {
    /// Suits a registration with this TTL: three reports may be lost.
    pub fn for_ttl(ttl: Duration) -> Self {
        Self {
            interval: ttl / 4,
            min_retry: (ttl / 20).min(Duration::from_millis(500)),
            max_retry: ttl / 8,
            timeout: ttl / 3,
            stop_timeout: Duration::from_secs(3),
        }
    }

    /// Suits a registration that the registry asks for its health this often. It is made again at
    /// twice the interval: each time a registry may start its wait over before it asks.
    pub fn for_http(interval: Duration) -> Self {
        Self {
            interval: interval * 2,
            min_retry: Duration::from_millis(500),
            max_retry: Duration::from_secs(5),
            ..Self::for_ttl(Duration::from_secs(30))
        }
    }
}

impl Registrar {
    /// Registers through instances of `component` with these settings, and with nine tenths of
    /// [`RegistrarOptions::timeout`] for each call. Nothing is registered before [`Self::run`].
    pub fn new(
        component: BackendComponent,
        settings: BackendSettings,
        registration: Registration,
        clock: Arc<dyn Clock>,
        options: RegistrarOptions,
    ) -> Self {
        let (always, health) = watch::channel(InstanceHealth::Passing);
        // Who is told by the component why a call failed knows more than who gives up on it.
        let call_timeout = options.timeout.mul_f64(CALL_SHARE);
        let settings = BackendSettings {
            call_timeout: Some(
                settings
                    .call_timeout
                    .unwrap_or(call_timeout)
                    .min(call_timeout),
            ),
            ..settings
        };
        Self {
            component,
            settings,
            registration,
            clock,
            options,
            instance: None,
            is_registered: false,
            health,
            _always: Some(always),
            failure: watch::Sender::new(None),
        }
    }

    /// Reports this health, instead of that the instance is passing always. A change is reported at
    /// once. Only a registration with a TTL can be reported on.
    #[must_use]
    pub fn with_health(self, health: watch::Receiver<InstanceHealth>) -> Self {
        Self {
            health,
            _always: None,
            ..self
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
            self.health.mark_unchanged();
            let step = tokio::select! {
                step = self.step_in_time() => step,
                () = &mut stop => break,
            };
            let is_done = step.is_ok();
            let pause = match step {
                Ok(()) => {
                    retry.reset();
                    self.note(None);
                    self.options.interval
                }
                Err(error) => {
                    self.note(Some(error));
                    retry.next_delay()
                }
            };
            let until = self.clock.instant() + pause;
            tokio::select! {
                () = self.clock.sleep_until(until) => {}
                // After a failure the wait is short, and the registry must not be asked faster.
                () = changed(&mut self.health), if is_done && self.is_kept_alive() => {}
                () = &mut stop => break,
            }
        }
        let within = self.options.stop_timeout;
        match timeout(within, self.deregister()).await {
            Ok(done) => done,
            Err(_) => Err(too_slow(within)),
        }
    }

    fn note(&self, failure: Option<Error>) {
        let id = &*self.registration.id;
        let before = self.failure.borrow().clone();
        match (&before, &failure) {
            (Some(_), None) => tracing::info!(id, "the registration is in order again"),
            (before, Some(error)) if before.as_ref() != Some(error) => {
                tracing::warn!(id, %error, "cannot keep the registration, trying again");
            }
            _ => {}
        }
        self.failure.send_if_modified(|now| {
            let is_new = *now != failure;
            *now = failure;
            is_new
        });
    }

    async fn step_in_time(&mut self) -> Result<(), Error> {
        let within = self.options.timeout;
        match timeout(within, self.step()).await {
            Ok(done) => done,
            Err(_) => Err(too_slow(within)),
        }
    }

    /// Registers the instance, or reports that it is alive.
    async fn step(&mut self) -> Result<(), Error> {
        let mut instance = self.take_instance().await?;
        let is_kept_alive = self.is_kept_alive();
        let mut done = Ok(());
        if self.is_registered && is_kept_alive {
            let (service, id) = self.names();
            let health = *self.health.borrow();
            done = instance.heartbeat(service, id, health).await;
        }
        let is_lost = matches!(&done, Err(BackendError::Registry(RegistryError::NotFound)));
        // One without a TTL is registered again each time: nothing else tells whether it is lost.
        if is_lost || !self.is_registered || !is_kept_alive {
            self.is_registered = false;
            done = instance.register(self.registration.clone()).await;
            // Until then it is critical in the registry.
            let health = *self.health.borrow();
            if done.is_ok() && is_kept_alive {
                let (service, id) = self.names();
                done = instance.heartbeat(service, id, health).await;
            }
        }
        self.keep(instance, &done);
        done.map_err(|error| to_error(&error))?;
        self.is_registered = true;
        Ok(())
    }

    /// Whether the instance reports its health itself.
    fn is_kept_alive(&self) -> bool {
        matches!(self.registration.check, Some(HealthCheck::Ttl(_)))
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

/// The next change of the health. Never, where nobody can change it any more.
async fn changed(health: &mut watch::Receiver<InstanceHealth>) {
    if health.changed().await.is_err() {
        std::future::pending().await
    }
}

fn too_slow(within: Duration) -> Error {
    let text = format!("the registry did not answer within {within:?}");
    Error::new(ErrorKind::Unavailable, text)
}
