use std::time::Duration;

use hotswap_core::Cause;

use super::bindings::hotswap::discovery::types::Error as RegistryError;
use crate::load::ConfigError;

/// Why a call to a backend failed.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The backend answered with an error.
    #[error("{}", describe(.0))]
    Registry(RegistryError),
    /// The backend crashed or exceeded a limit. The instance has ended.
    #[error("{0}")]
    Crashed(Cause),
    /// The call took too long. The instance has ended.
    #[error("the backend did not answer within {0:?}")]
    TimedOut(Duration),
    /// The machine has no room for the instance. Try again.
    #[error("the backend cannot be started: {0}")]
    NoRoom(String),
    /// The instance has ended in an earlier call. Start another one.
    #[error("the instance of the backend has ended")]
    Ended,
}

impl BackendError {
    /// Whether the instance has ended with this error.
    pub fn has_ended(&self) -> bool {
        !matches!(self, Self::Registry(_))
    }
}

/// Why a backend cannot be started with its settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The configuration does not match the schema.
    #[error("the configuration is invalid: {0}")]
    Config(#[from] ConfigError),
    /// A secret is configured that the backend does not know.
    #[error("the backend has no secret named '{name}'; it has {known}")]
    UnknownSecret {
        /// Its name.
        name: String,
        /// The names of those that it has.
        known: String,
    },
    /// A secret cannot stand in a header.
    #[error("the secret '{0}' has characters that an HTTP header cannot carry")]
    UnsendableSecret(String),
    /// The backend could not be started, or rejected its configuration.
    #[error(transparent)]
    Start(#[from] BackendError),
}

fn describe(error: &RegistryError) -> String {
    match error {
        RegistryError::Unavailable(text) => format!("the registry is unavailable: {text}"),
        RegistryError::Denied(text) => format!("the registry denied access: {text}"),
        RegistryError::NotFound => "the registry does not know the instance".to_owned(),
        RegistryError::Protocol(text) => {
            format!("the registry answered something that makes no sense: {text}")
        }
        RegistryError::InvalidConfig(text) => {
            format!("the configuration cannot be used: {text}")
        }
        RegistryError::Unsupported => "the registry is read-only".to_owned(),
        RegistryError::Other(text) => text.clone(),
    }
}
