//! One suite for every backend: does it keep the contract, with the registry that its settings
//! name, and with servers that misbehave?

mod faults;
mod reading;
mod registering;
mod stand_ins;

use std::fmt;
use std::time::Duration;

use super::bindings::hotswap::discovery::types::{Error as RegistryError, Snapshot};
use super::component::{BackendComponent, BackendSettings};
use super::error::{BackendError, SettingsError};
use super::instance::BackendInstance;

/// What is asked of a backend, and of its registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractOptions {
    /// The service that is read.
    pub service: String,
    /// The service in which an instance is registered and removed again. `None` writes nothing.
    pub scratch_service: Option<String>,
    /// How soon a change must be seen.
    pub latency: Duration,
}

/// A rule of the contract, and whether the backend keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractCheck {
    /// The rule, in words.
    pub rule: &'static str,
    /// The outcome of it.
    pub outcome: Outcome,
}

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The backend keeps the rule.
    Passed,
    /// It does not: what it did instead.
    Failed(String),
    /// It could not be checked: why.
    Skipped(String),
}

/// Checks a backend with its settings: first with servers that misbehave, which are made up, then
/// with the registry itself.
///
/// Cancel safe, except for an instance that stays registered until its time to live is over.
pub async fn check_contract(
    component: &BackendComponent,
    settings: &BackendSettings,
    options: &ContractOptions,
) -> Vec<ContractCheck> {
    let subject = Subject {
        component,
        settings,
        options,
    };
    let mut checks = subject.check_faults().await;
    checks.extend(subject.check_reading().await);
    checks.extend(subject.check_registering().await);
    checks
}

/// What is checked.
struct Subject<'a> {
    component: &'a BackendComponent,
    settings: &'a BackendSettings,
    options: &'a ContractOptions,
}

impl Subject<'_> {
    async fn start(&self) -> Result<BackendInstance, String> {
        self.start_with(self.settings.clone()).await
    }

    async fn start_with(&self, settings: BackendSettings) -> Result<BackendInstance, String> {
        let started = self.component.start(settings).await;
        started.map_err(|error: SettingsError| format!("it does not start: {error}"))
    }

    async fn watch(
        &self,
        instance: &mut BackendInstance,
        service: &str,
        cursor: Option<&str>,
        patience: Duration,
    ) -> Result<Snapshot, BackendError> {
        let cursor = cursor.map(str::to_owned);
        instance.watch(service.to_owned(), cursor, patience).await
    }
}

impl ContractCheck {
    fn new(rule: &'static str, result: Result<(), String>) -> Self {
        let outcome = match result {
            Ok(()) => Outcome::Passed,
            Err(reason) => Outcome::Failed(reason),
        };
        Self { rule, outcome }
    }

    fn skipped(rule: &'static str, reason: impl Into<String>) -> Self {
        Self {
            rule,
            outcome: Outcome::Skipped(reason.into()),
        }
    }
}

/// The kind of an error, as the contract calls it.
fn kind_of(error: &RegistryError) -> &'static str {
    match error {
        RegistryError::Unavailable(_) => "unavailable",
        RegistryError::Denied(_) => "denied",
        RegistryError::NotFound => "not-found",
        RegistryError::Protocol(_) => "protocol",
        RegistryError::InvalidConfig(_) => "invalid-config",
        RegistryError::Unsupported => "unsupported",
        RegistryError::Other(_) => "other",
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
            Self::Skipped(reason) => write!(f, "skipped: {reason}"),
        }
    }
}
