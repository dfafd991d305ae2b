use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hotswap_core::Digest;
use semver::Version;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::bindings::DiscoveryPre;
use super::bindings::exports::hotswap::discovery::backend::{
    Descriptor, Secret as SecretDescriptor,
};
use super::bindings::hotswap::discovery::types::{
    Error as RegistryError, Health, Registration, Snapshot,
};
use super::connection::StandIn;
use super::context::DiscoveryContext;
use super::error::{BackendError, SettingsError};
use super::instance::BackendInstance;
use super::origin::Origin;
use super::outgoing::Outgoing;
use super::refusals::Refusals;
use super::resolver::{Resolver, SystemResolver};
use super::secret_source::SecretSource;
use super::secrets::Secrets;
use super::state::BackendState;
use super::tls::{Tls, TlsFiles};
use crate::load::contract::{self, ContractExport, DISCOVERY, ExportedFunctions};
use crate::load::{ConfigError, ConfigSchema, LoadError, blocking, check_own_version, inspect};

/// A loaded discovery backend. Cheap to clone.
#[derive(Clone)]
pub struct BackendComponent {
    inner: Arc<ComponentInner>,
}

struct ComponentInner {
    context: Arc<DiscoveryContext>,
    digest: Digest,
    wit_version: Version,
    descriptor: BackendDescriptor,
    schema: ConfigSchema,
    program: DiscoveryPre<BackendState>,
}

/// How a discovery backend describes itself.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendDescriptor {
    /// Its name.
    pub name: String,
    /// Its own version, semantic.
    pub version: String,
    /// One sentence about what it is for.
    pub summary: String,
    /// JSON Schema (2020-12) of its configuration.
    pub config_schema: Value,
    /// Whether instances can be registered through it.
    pub can_register: bool,
    /// The secrets that can be configured, and where in its requests the engine puts them.
    pub secrets: Vec<SecretDescriptor>,
}

/// What an instance of a backend is started with.
#[derive(Clone)]
pub struct BackendSettings {
    /// The name by which the log calls it.
    pub name: String,
    /// Its configuration. `None` means all defaults.
    pub config: Option<Value>,
    /// The servers that it may reach.
    pub origins: Vec<Origin>,
    /// The names that it may resolve, besides the hosts of the servers.
    pub names: Vec<String>,
    /// The files for TLS to the servers.
    pub tls: TlsFiles,
    /// Its secrets by their names.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Finds the addresses of the servers' names, and what DNS says of the names.
    pub resolver: Arc<dyn Resolver>,
    /// How long a call, and each part of an answer, may take, where that is less than the limits
    /// of the host.
    pub call_timeout: Option<Duration>,
    /// What answers in the place of the servers, for checks of the contract.
    pub stand_in: Option<Arc<dyn StandIn>>,
}

impl BackendSettings {
    /// Settings with defaults, for a backend that may reach nothing.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            config: None,
            origins: Vec::new(),
            names: Vec::new(),
            tls: TlsFiles::default(),
            secrets: BTreeMap::new(),
            resolver: Arc::new(SystemResolver),
            call_timeout: None,
            stand_in: None,
        }
    }
}

impl BackendComponent {
    /// The digest of the component.
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// The version of the contract that the component was built for.
    pub fn wit_version(&self) -> &Version {
        &self.inner.wit_version
    }

    /// How the backend describes itself.
    pub fn descriptor(&self) -> &BackendDescriptor {
        &self.inner.descriptor
    }

    /// Checks a configuration against the backend's schema and fills in the defaults.
    ///
    /// # Errors
    /// [`ConfigError`] lists the places that do not match the schema.
    pub fn configure(&self, config: Option<Value>) -> Result<Value, ConfigError> {
        self.inner.schema.configure(config)
    }

    /// Makes an instance and passes it its configuration. Needs a tokio runtime.
    ///
    /// Cancel safe: a cancelled start leaves nothing behind.
    ///
    /// # Errors
    /// [`SettingsError`] says which setting is wrong, or why the instance did not start.
    pub async fn start(&self, settings: BackendSettings) -> Result<BackendInstance, SettingsError> {
        let inner = &self.inner;
        let config = self.configure(settings.config)?;
        let secrets = Secrets::new(&inner.descriptor.secrets, &settings.secrets)?;
        let mut limits = inner.context.limits.clone();
        if let Some(timeout) = settings.call_timeout {
            limits.call_timeout = limits.call_timeout.min(timeout);
            limits.read_timeout = limits.read_timeout.min(timeout);
        }
        let outgoing = Arc::new(Outgoing {
            name: settings.name.into(),
            origins: settings.origins,
            names: settings.names,
            tls: Tls::new(settings.tls),
            stand_in: settings.stand_in,
            secrets,
            resolver: settings.resolver,
            connections: Arc::new(Semaphore::new(limits.connections)),
            limits,
            refusals: Refusals::default(),
        });
        let context = Arc::clone(&inner.context);
        let started = BackendInstance::start(context, &inner.program, outgoing);
        let mut instance = started.await?;
        instance.configure(config.to_string()).await?;
        Ok(instance)
    }
}

/// Checks and compiles a component, and asks it for its description.
pub(super) async fn load(
    context: &Arc<DiscoveryContext>,
    digest: Digest,
    bytes: &[u8],
) -> Result<BackendComponent, LoadError> {
    let export = contract::check_names(&DISCOVERY, &inspect::component_names(bytes)?)?;
    let wit_version = export.version.clone();
    let program = {
        let (context, bytes) = (Arc::clone(context), bytes.to_vec());
        blocking(move || compile_blocking(&context, digest, &bytes, &export)).await?
    };
    let described = describe(context, &program).await;
    let described = described.map_err(|error| LoadError::Describe(error.to_string()))?;
    let (descriptor, schema) = blocking(|| check_descriptor(described)).await?;
    Ok(BackendComponent {
        inner: Arc::new(ComponentInner {
            context: Arc::clone(context),
            digest,
            wit_version,
            descriptor,
            schema,
            program,
        }),
    })
}

fn compile_blocking(
    context: &DiscoveryContext,
    digest: Digest,
    bytes: &[u8],
    export: &ContractExport,
) -> Result<DiscoveryPre<BackendState>, LoadError> {
    let compile_error = |error: wasmtime::Error| LoadError::Compile(format!("{error:#}"));
    let compiled = &context.compiled;
    let compiled = compiled.load(digest, [&context.engine], || Ok(bytes.to_vec()));
    let [component] = compiled.map_err(compile_error)?;
    contract::check_imported_functions(&DISCOVERY, &component)?;
    let linked = context.linker.instantiate_pre(&component);
    let linked = linked.map_err(|error| LoadError::ImportTypeMismatch {
        contract: DISCOVERY.package,
        reason: format!("{error:#}"),
    })?;
    type Done = (Result<(), RegistryError>,);
    type Watched = (Result<Snapshot, RegistryError>,);
    let functions = ExportedFunctions::find(&DISCOVERY, &linked, export)?;
    functions.check::<(), (Descriptor,)>("describe")?;
    functions.check::<(&str,), Done>("configure")?;
    functions.check::<(&Registration,), Done>("register")?;
    functions.check::<(&str, &str, Health), Done>("heartbeat")?;
    functions.check::<(&str, &str), Done>("deregister")?;
    functions.check::<(&str, Option<&str>, u64), Watched>("watch")?;
    DiscoveryPre::new(linked).map_err(compile_error)
}

/// Calls `describe` in an instance that may reach nothing.
async fn describe(
    context: &Arc<DiscoveryContext>,
    program: &DiscoveryPre<BackendState>,
) -> Result<Descriptor, BackendError> {
    let limits = context.limits.clone();
    let outgoing = Arc::new(Outgoing {
        name: "describe".into(),
        origins: Vec::new(),
        names: Vec::new(),
        tls: Tls::new(TlsFiles::default()),
        stand_in: None,
        secrets: Secrets::default(),
        resolver: Arc::new(SystemResolver),
        connections: Arc::new(Semaphore::new(0)),
        limits,
        refusals: Refusals::default(),
    });
    let instance = BackendInstance::start(Arc::clone(context), program, outgoing);
    instance.await?.describe().await
}

fn check_descriptor(returned: Descriptor) -> Result<(BackendDescriptor, ConfigSchema), LoadError> {
    // The rules for names are the same.
    let name: hotswap_core::StrategyName = returned.name.parse().map_err(LoadError::InvalidName)?;
    check_own_version(&returned.version)?;
    for secret in &returned.secrets {
        let name: Result<hotswap_core::StrategyName, _> = secret.name.parse();
        name.map_err(LoadError::InvalidName)?;
    }
    let schema = ConfigSchema::parse(&returned.config_schema).map_err(LoadError::InvalidSchema)?;
    let descriptor = BackendDescriptor {
        name: name.to_string(),
        version: returned.version,
        summary: returned.summary,
        config_schema: schema.json().clone(),
        can_register: returned.can_register,
        secrets: returned.secrets,
    };
    Ok((descriptor, schema))
}

impl fmt::Debug for BackendComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let descriptor = self.descriptor();
        f.debug_struct("BackendComponent")
            .field("name", &descriptor.name)
            .field("version", &descriptor.version)
            .field("digest", &self.digest())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for BackendSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendSettings")
            .field("name", &self.name)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}
