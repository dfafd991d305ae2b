//! Runs discovery backends: components of the world `hotswap:discovery/discovery`.
//!
//! [`DiscoveryHost::load`] checks and compiles a component into a [`BackendComponent`];
//! [`BackendComponent::start`] makes an instance with its configuration, and
//! [`BackendInstance`] calls it. Whatever the component does:
//!
//! - It reaches only the [`Origin`]s that it was given. `outgoing` checks each request, and
//!   `connection` the addresses that the host's name leads to. `tls` speaks TLS to them.
//! - It never sees a [`Secret`](hotswap_common::Secret): `secrets` puts them into the requests.
//! - [`BackendLimits`] bounds its memory, its instructions and its time for each call, its
//!   connections, and the bytes of each request and answer.
//! - Its lines go to the engine's log, and a panic becomes the reason of [`BackendError::Crashed`].
//!
//! `tests/discovery` shows everything in use.

mod bindings;
mod component;
mod connection;
mod context;
mod contract;
mod dns_resolver;
mod error;
mod host;
mod imports;
mod instance;
mod limited_body;
mod limits;
mod origin;
mod outgoing;
mod refusals;
mod registration;
mod resolver;
mod secret_source;
mod secrets;
mod state;
mod tls;

pub use self::bindings::exports::hotswap::discovery::backend::{
    Secret as SecretDescriptor, SecretHeader, SecretPlace,
};
pub use self::bindings::hotswap::discovery::types::{
    Error as RegistryError, Health as InstanceHealth, HealthCheck, HttpCheck, Instance, Port,
    Registration, Snapshot,
};
pub use self::component::{BackendComponent, BackendDescriptor, BackendSettings};
pub use self::connection::StandIn;
pub use self::contract::{ContractCheck, ContractOptions, Outcome, check_contract};
pub use self::dns_resolver::{DnsOptions, DnsResolver};
pub use self::error::{BackendError, SettingsError};
pub use self::host::DiscoveryHost;
pub use self::instance::BackendInstance;
pub use self::limits::BackendLimits;
pub use self::origin::{Origin, OriginError};
pub use self::registration::registration;
pub use self::resolver::{Resolver, SrvRecord, SystemResolver};
pub use self::secret_source::{SecretFileError, SecretSource};
pub use self::tls::{ClientCertificate, TlsError, TlsFiles};
