use std::sync::Arc;
use std::time::{Duration, Instant};

use super::stand_ins::{Fault, Relay};
use super::{ContractCheck, Subject};
use crate::discovery::bindings::hotswap::discovery::types::{
    Error as RegistryError, Health, HealthCheck, Instance, Registration,
};
use crate::discovery::component::BackendSettings;
use crate::discovery::connection::StandIn;
use crate::discovery::error::BackendError;
use crate::discovery::instance::BackendInstance;
use crate::discovery::registration::registration;

/// How a server says that it cannot take a request. Some words are also those of other answers.
const FAULT: Fault = Fault::Answers(500, "no leader to check this service");

/// The time to live of the instance. Longer than the checks take.
const TTL: Duration = Duration::from_secs(60);

const READ_ONLY: &str = "a read-only backend says that it cannot register";
const APPEARS: &str = "a watch that waits sees a registered instance in time, whole";
const REPLACES: &str = "registering an id again replaces the instance";
const REPORTS: &str = "reported health is seen in time";
const UNKNOWN: &str = "a heartbeat for an instance that is not registered is not-found";
const INCAPABLE: &str = "status 500 to a heartbeat is unavailable";
const REFUSING: &str = "status 500 to register and deregister is unavailable";
const DISAPPEARS: &str = "a deregistered instance is gone in time";
const TWICE: &str = "deregistering what is not registered succeeds";

impl Subject<'_> {
    pub(super) async fn check_registering(&self) -> Vec<ContractCheck> {
        let rules = [
            APPEARS, REPLACES, REPORTS, UNKNOWN, INCAPABLE, REFUSING, DISAPPEARS, TWICE,
        ];
        let skip = |reason: &str| {
            let skipped = rules.map(|rule| ContractCheck::skipped(rule, reason));
            Vec::from(skipped)
        };
        if !self.component.descriptor().can_register {
            let mut checks = vec![ContractCheck::new(READ_ONLY, self.check_read_only().await)];
            checks.extend(skip("the backend is read-only"));
            return checks;
        }
        let Some(service) = self.options.scratch_service.clone() else {
            return skip("nothing may be written");
        };
        let mut trial = match Trial::start(self, service).await {
            Ok(trial) => trial,
            Err(reason) => return vec![ContractCheck::new(APPEARS, Err(reason))],
        };
        let mut checks = vec![ContractCheck::new(APPEARS, trial.appears().await)];
        if matches!(checks[0].outcome, super::Outcome::Passed) {
            checks.push(ContractCheck::new(REPLACES, trial.replaces().await));
            checks.push(ContractCheck::new(REPORTS, trial.reports().await));
        }
        checks.push(ContractCheck::new(UNKNOWN, trial.unknown().await));
        checks.push(ContractCheck::new(INCAPABLE, trial.incapable().await));
        checks.push(ContractCheck::new(REFUSING, trial.refusing().await));
        checks.push(ContractCheck::new(DISAPPEARS, trial.disappears().await));
        checks.push(ContractCheck::new(TWICE, trial.deregister().await));
        checks
    }

    async fn check_read_only(&self) -> Result<(), String> {
        let mut instance = self.start().await?;
        match instance
            .register(trial_registration("none", &self.options.service))
            .await
        {
            Err(BackendError::Registry(RegistryError::Unsupported)) => Ok(()),
            other => Err(format!(
                "register came to {other:?}; it should be unsupported"
            )),
        }
    }
}

/// An instance that is registered and removed again.
struct Trial<'a> {
    subject: &'a Subject<'a>,
    writer: BackendInstance,
    reader: BackendInstance,
    registration: Registration,
    cursor: Option<String>,
}

impl<'a> Trial<'a> {
    async fn start(subject: &'a Subject<'a>, service: String) -> Result<Self, String> {
        Ok(Self {
            subject,
            writer: subject.start().await?,
            reader: subject.start().await?,
            registration: trial_registration("hotswap-contract-check", &service),
            cursor: None,
        })
    }

    async fn appears(&mut self) -> Result<(), String> {
        let before = self.find(Duration::ZERO).await?;
        if before.is_some() {
            // Of a check that was killed.
            self.deregister().await?;
            self.until("the last check's instance is gone", |found| found.is_none())
                .await?;
        }
        self.register().await?;
        let registered = self.registration.clone();
        let found = self.until("it is found", |found| found.is_some()).await?;
        let found = found.ok_or("it was not found")?;
        let is_whole = found.address == registered.address
            && registered
                .ports
                .iter()
                .all(|port| found.ports.contains(port))
            && found.zone == registered.zone
            && found.version == registered.version
            && registered
                .metadata
                .iter()
                .all(|pair| found.metadata.contains(pair));
        match is_whole {
            true => Ok(()),
            false => Err(format!("{registered:?} was found as {found:?}")),
        }
    }

    async fn replaces(&mut self) -> Result<(), String> {
        self.registration.zone = Some("zone-2".to_owned());
        self.register().await?;
        let is_new = |found: Option<&Instance>| {
            found.is_some_and(|found| found.zone.as_deref() == Some("zone-2"))
        };
        self.until("its new zone is found", is_new).await.map(drop)
    }

    async fn reports(&mut self) -> Result<(), String> {
        for health in [Health::Warning, Health::Critical, Health::Passing] {
            let Registration { service, id, .. } = self.registration.clone();
            let reported = self.writer.heartbeat(service, id, health).await;
            reported.map_err(|error| format!("a heartbeat failed: {error}"))?;
            let is_so = |found: Option<&Instance>| found.is_some_and(|it| it.health == health);
            self.until(&format!("it is {health:?}"), is_so).await?;
        }
        Ok(())
    }

    async fn unknown(&mut self) -> Result<(), String> {
        let service = self.registration.service.clone();
        let id = "hotswap-contract-check-unknown".to_owned();
        match self.writer.heartbeat(service, id, Health::Passing).await {
            Err(BackendError::Registry(RegistryError::NotFound)) => Ok(()),
            other => Err(format!("it came to {other:?}")),
        }
    }

    /// What a server that fails says of an instance is nothing. Who took it for a lost registration
    /// would register again and again.
    async fn incapable(&mut self) -> Result<(), String> {
        let (mut writer, relay) = self.relayed().await?;
        let registered = writer.register(self.registration.clone()).await;
        registered.map_err(|error| format!("register failed: {error}"))?;
        relay.set(Some(FAULT));
        let Registration { service, id, .. } = self.registration.clone();
        let reported = writer.heartbeat(service, id, Health::Passing).await;
        check_unavailable(reported)
    }

    async fn refusing(&mut self) -> Result<(), String> {
        let (mut writer, relay) = self.relayed().await?;
        relay.set(Some(FAULT));
        let registered = writer.register(self.registration.clone()).await;
        check_unavailable(registered).map_err(|reason| format!("register: {reason}"))?;
        let Registration { service, id, .. } = self.registration.clone();
        let deregistered = writer.deregister(service, id).await;
        check_unavailable(deregistered).map_err(|reason| format!("deregister: {reason}"))
    }

    /// An instance that reaches the registry until it is told to fail.
    async fn relayed(&self) -> Result<(BackendInstance, Arc<Relay>), String> {
        let settings = self.subject.settings;
        let relay = Arc::new(Relay::new(settings.clone()));
        let settings = BackendSettings {
            stand_in: Some(Arc::clone(&relay) as Arc<dyn StandIn>),
            ..settings.clone()
        };
        Ok((self.subject.start_with(settings).await?, relay))
    }

    async fn disappears(&mut self) -> Result<(), String> {
        self.deregister().await?;
        self.until("it is gone", |found| found.is_none())
            .await
            .map(drop)
    }

    async fn register(&mut self) -> Result<(), String> {
        let done = self.writer.register(self.registration.clone()).await;
        done.map_err(|error| format!("register failed: {error}"))
    }

    async fn deregister(&mut self) -> Result<(), String> {
        let Registration { service, id, .. } = self.registration.clone();
        let done = self.writer.deregister(service, id).await;
        done.map_err(|error| format!("deregister failed: {error}"))
    }

    /// Watches until the instance is as `is_met` wants it.
    async fn until(
        &mut self,
        what: &str,
        is_met: impl Fn(Option<&Instance>) -> bool,
    ) -> Result<Option<Instance>, String> {
        let until = Instant::now() + self.subject.options.latency;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let found = self.find(left).await?;
            if is_met(found.as_ref()) {
                return Ok(found);
            }
            if Instant::now() >= until {
                let latency = self.subject.options.latency;
                return Err(format!(
                    "after {latency:?} it was not seen that {what}: {found:?}"
                ));
            }
        }
    }

    async fn find(&mut self, patience: Duration) -> Result<Option<Instance>, String> {
        let cursor = self.cursor.clone();
        let Registration { service, id, .. } = self.registration.clone();
        let watched = self.reader.watch(service, cursor, patience).await;
        let found = watched.map_err(|error| format!("watch failed: {error}"))?;
        self.cursor = Some(found.cursor);
        Ok(found
            .instances
            .into_iter()
            .find(|instance| instance.id == id))
    }
}

fn check_unavailable(done: Result<(), BackendError>) -> Result<(), String> {
    match done {
        Err(BackendError::Registry(RegistryError::Unavailable(_))) => Ok(()),
        other => Err(format!("it came to {other:?}")),
    }
}

/// An instance with something of everything.
fn trial_registration(id: &str, service: &str) -> Registration {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let ports = [("control", 5001), ("data", 8080)];
    Registration {
        version: Some("1.2.3".to_owned()),
        zone: Some("zone-1".to_owned()),
        metadata: vec![
            pair("a.b/c-d", "an \"odd\" value: ä"),
            pair("environment", "check"),
        ],
        check: Some(HealthCheck::Ttl(
            u64::try_from(TTL.as_millis()).unwrap_or(u64::MAX),
        )),
        deregister_after: Some(600_000),
        // Of the addresses for documentation: nobody has it.
        ..registration(service, id, "192.0.2.1", &ports)
    }
}
