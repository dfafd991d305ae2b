//! The trait that an author implements, and the macro that makes a component of it.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bindings::exports::hotswap::discovery::backend as wit;
use super::{Context, Descriptor, Error, Health, Instance, Registration, Snapshot};
use crate::Span;
use crate::strategy::schema_of;

/// A discovery backend. [`register_backend!`](crate::register_backend) makes a component of it.
/// See [the module](super) for an example.
pub trait Backend: Sized + 'static {
    /// The settings of the backend. The SDK generates a JSON Schema from the type, as for
    /// [`Strategy::Config`](crate::Strategy::Config).
    type Config: DeserializeOwned + Serialize + JsonSchema + Default;

    /// The backend's name: lower-case letters, digits and hyphens.
    const NAME: &'static str;

    /// One sentence that says which registry it is for.
    const SUMMARY: &'static str;

    /// The secrets that an operator can configure.
    const SECRETS: &'static [Secret] = &[];

    /// Whether [`Self::register`], [`Self::heartbeat`] and [`Self::deregister`] are implemented.
    const CAN_REGISTER: bool = false;

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], with what to change.
    fn new(config: Self::Config) -> Result<Self, Error>;

    /// The instances of a service: without a cursor at once, with one after they have changed,
    /// at most after `patience`. A cursor that the registry no longer knows is no error: answer
    /// as without one.
    ///
    /// # Errors
    /// Any. The engine keeps what it knows, and tries again.
    fn watch(
        &mut self,
        context: &Context,
        service: &str,
        cursor: Option<&str>,
        patience: Span,
    ) -> Result<Snapshot, Error>;

    /// Registers an instance, or replaces the one with its id. One with a TTL check is critical until
    /// its first [`heartbeat`](Self::heartbeat), which follows at once.
    ///
    /// # Errors
    /// Any. The engine tries again.
    fn register(&mut self, _: &Context, _: &Registration) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    /// Reports the health of a registered instance that has a TTL check.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the registry, or this instance of the backend, does not know it: the
    /// engine registers it again.
    fn heartbeat(
        &mut self,
        _: &Context,
        _service: &str,
        _id: &str,
        _: Health,
    ) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    /// Removes an instance. Succeeds if it is not registered.
    ///
    /// # Errors
    /// Any. The engine tries again.
    fn deregister(&mut self, _: &Context, _service: &str, _id: &str) -> Result<(), Error> {
        Err(Error::Unsupported)
    }
}

/// A secret that an operator can configure. The engine adds it to requests; a backend never sees
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secret {
    /// Its name in the configuration: lower-case letters, digits and hyphens.
    pub name: &'static str,
    /// One sentence about what it is.
    pub summary: &'static str,
    /// Where it belongs.
    pub place: SecretPlace,
}

/// Where in a request a secret belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretPlace {
    /// In a header of every request.
    Header {
        /// Its name.
        name: &'static str,
        /// What stands before the secret, such as `Bearer ` with the space.
        prefix: &'static str,
    },
    /// In the bodies of requests to this path, in the place of `${secret.NAME}`. Only for a path
    /// where the registry takes credentials.
    Body {
        /// The path.
        path: &'static str,
    },
}

/// A registered backend. [`register_backend!`](crate::register_backend) implements this trait.
pub trait Registered: Backend {
    /// The version of the crate that registers the backend.
    const CRATE_VERSION: &'static str;
}

/// How the backend describes itself.
#[must_use]
pub fn describe<B: Registered>() -> Descriptor {
    let secret = |secret: &Secret| wit::Secret {
        name: secret.name.to_owned(),
        summary: secret.summary.to_owned(),
        place: match secret.place {
            SecretPlace::Header { name, prefix } => wit::SecretPlace::Header(wit::SecretHeader {
                name: name.to_owned(),
                prefix: prefix.to_owned(),
            }),
            SecretPlace::Body { path } => wit::SecretPlace::Body(path.to_owned()),
        },
    };
    Descriptor {
        name: B::NAME.to_owned(),
        version: B::CRATE_VERSION.to_owned(),
        summary: B::SUMMARY.to_owned(),
        config_schema: schema_of::<B::Config>(B::NAME),
        can_register: B::CAN_REGISTER,
        secrets: B::SECRETS.iter().map(secret).collect(),
    }
}

/// An instance at this address, which is also its id: passing, with weight 1, and nothing else.
#[must_use]
pub fn instance(address: impl Into<String>) -> Instance {
    let address = address.into();
    Instance {
        id: address.clone(),
        address,
        ports: Vec::new(),
        health: Health::Passing,
        version: None,
        zone: None,
        weight: 1,
        metadata: Vec::new(),
    }
}

/// Makes a component of a [`Backend`]. Use it once in a crate of type `cdylib`.
///
/// On targets other than WebAssembly the macro exports nothing.
#[macro_export]
macro_rules! register_backend {
    ($backend:ty) => {
        impl $crate::discovery::Registered for $backend {
            const CRATE_VERSION: &'static str = env!("CARGO_PKG_VERSION");
        }

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use ::std::option::Option;
            use ::std::result::Result;
            use ::std::string::String;

            use $crate::discovery::bindings::exports::hotswap::discovery::backend::Guest;
            use $crate::discovery::guest::Slot;
            use $crate::discovery::{Descriptor, Error, Health, Registration, Snapshot, bindings};

            struct Component;

            ::std::thread_local! {
                static SLOT: Slot<$backend> = Slot::default();
            }

            impl Guest for Component {
                fn describe() -> Descriptor {
                    $crate::discovery::describe::<$backend>()
                }

                fn configure(config: String) -> Result<(), Error> {
                    SLOT.with(|slot| slot.configure(&config))
                }

                fn register(registration: Registration) -> Result<(), Error> {
                    SLOT.with(|slot| slot.register(&registration))
                }

                fn heartbeat(service: String, id: String, health: Health) -> Result<(), Error> {
                    SLOT.with(|slot| slot.heartbeat(&service, &id, health))
                }

                fn deregister(service: String, id: String) -> Result<(), Error> {
                    SLOT.with(|slot| slot.deregister(&service, &id))
                }

                fn watch(
                    service: String,
                    cursor: Option<String>,
                    patience: u64,
                ) -> Result<Snapshot, Error> {
                    SLOT.with(|slot| slot.watch(&service, cursor.as_deref(), patience))
                }
            }

    bindings::export!(Component with_types_in bindings);
        };
    };
}
