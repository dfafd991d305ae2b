//! Discovery through components: a [`ComponentBackend`] is a registry that
//! [`WatchedSource`](hotswap_fleet::discovery::WatchedSource) can watch, a [`Registrar`] keeps an
//! instance registered in one. A [`PollConfig`] says how the engine asks the nodes that it finds, and
//! a [`LazyDiscoveryHost`] runs the components.
//!
//! Both replace an instance of the component that crashed, exceeded a limit or did not return.
//! Who calls them waits in between, with back-off and jitter.

mod component_backend;
mod lazy_host;
mod polling;
mod registrar;

pub use component_backend::ComponentBackend;
pub use lazy_host::LazyDiscoveryHost;
pub(crate) use polling::Polling;
pub use polling::{EngineUrl, PollConfig};
pub use registrar::{Registrar, RegistrarOptions};

use hotswap_fleet::discovery::{Error, ErrorKind};
use hotswap_plugins::discovery::{BackendError, RegistryError, SettingsError};

fn to_error(error: &BackendError) -> Error {
    let kind = match error {
        BackendError::Registry(error) => match error {
            RegistryError::Unavailable(_) | RegistryError::NotFound | RegistryError::Other(_) => {
                ErrorKind::Unavailable
            }
            RegistryError::Denied(_) => ErrorKind::Denied,
            RegistryError::Protocol(_) => ErrorKind::Protocol,
            RegistryError::InvalidConfig(_) | RegistryError::Unsupported => ErrorKind::Config,
        },
        BackendError::Crashed(_) | BackendError::Ended => ErrorKind::Crashed,
        BackendError::TimedOut(_) | BackendError::NoRoom(_) => ErrorKind::Unavailable,
    };
    Error::new(kind, error.to_string())
}

fn to_start_error(error: &SettingsError) -> Error {
    match error {
        SettingsError::Start(error) => to_error(error),
        SettingsError::Config(_)
        | SettingsError::UnknownSecret { .. }
        | SettingsError::UnsendableSecret(_) => Error::new(ErrorKind::Config, error.to_string()),
    }
}
