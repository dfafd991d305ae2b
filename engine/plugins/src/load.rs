//! Checks a component against the contract and compiles it into a program.
//!
//! The steps, in this order: `inspect` reads the names of imports and exports, `contract`
//! checks them, wasmtime compiles and links the component, `contract` checks the types, and
//! finally the component's own `describe` returns its name and its configuration schema.

mod config_schema;
pub(crate) mod contract;
mod error;
pub mod inspect;

use std::sync::Arc;

use hotswap_core::{Digest, StrategyName};
use semver::Version;
use serde_json::Value;
use tokio::task;

pub(crate) use self::config_schema::ConfigSchema;
pub use self::config_schema::{ConfigError, ConfigProblem, SchemaError};
use self::contract::{ContractExport, ExportedFunctions, STRATEGY};
pub use self::error::LoadError;
use crate::bindings::StrategyPre;
use crate::bindings::exports::hotswap::strategy::guest::{self, Plan};
use crate::run::{HostContext, InstanceState, Program, RunError, Stop};

/// How a strategy describes itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptor {
    /// The name by which requests refer to the strategy.
    pub name: StrategyName,
    /// The strategy's own version, semantic.
    pub version: String,
    /// One sentence about what the strategy does.
    pub summary: String,
    /// JSON Schema (2020-12) of the configuration.
    pub config_schema: Value,
}

/// Everything that is known about a component after it was loaded.
pub(crate) struct LoadedComponent {
    /// The version of the contract that the component was built for.
    pub wit_version: Version,
    pub descriptor: Descriptor,
    pub schema: ConfigSchema,
    pub program: Program,
}

/// Checks and compiles a component, and asks it for its description. It is compiled on a thread for
/// blocking work. Needs a tokio runtime.
///
/// Cancel safe. A compilation that has started runs to its end, and its result is dropped.
///
/// # Errors
/// [`LoadError`] says what is wrong and what to do about it.
pub(crate) async fn load(
    context: &Arc<HostContext>,
    digest: Digest,
    bytes: &[u8],
) -> Result<LoadedComponent, LoadError> {
    let guest = contract::check_names(&STRATEGY, &inspect::component_names(bytes)?)?;
    let wit_version = guest.version.clone();
    let program = compile(Arc::clone(context), digest, bytes.to_vec(), guest).await?;
    let (descriptor, schema) = describe(&program).await?;
    Ok(LoadedComponent {
        wit_version,
        descriptor,
        schema,
        program,
    })
}

async fn compile(
    context: Arc<HostContext>,
    digest: Digest,
    bytes: Vec<u8>,
    guest: ContractExport,
) -> Result<Program, LoadError> {
    blocking(move || {
        let component = compile_blocking(&context, digest, &bytes, &guest)?;
        Ok(Program::new(context, component))
    })
    .await
}

/// A step of loading, on a thread for blocking work.
pub(crate) async fn blocking<T: Send + 'static>(
    step: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    task::spawn_blocking(step).await.unwrap_or_else(|_| {
        let reason = "the compiler crashed, which is a bug in the engine: please report it";
        Err(LoadError::Compile(reason.to_owned()))
    })
}

fn compile_blocking(
    context: &HostContext,
    digest: Digest,
    bytes: &[u8],
    guest: &ContractExport,
) -> Result<StrategyPre<InstanceState>, LoadError> {
    let target = &context.pooled;
    // It fails in the same way also where the machine lacks files or memory. Only code that is not
    // valid can never be compiled.
    let compile_error = |error: wasmtime::Error| match inspect::validate(bytes) {
        Err(invalid) => LoadError::NotAComponent(invalid),
        Ok(()) => LoadError::Compile(format!("{error:#}")),
    };
    let compiled = &context.compiled;
    let compiled = compiled.load(digest, [&target.engine], || Ok(bytes.to_vec()));
    let [component] = compiled.map_err(compile_error)?;
    contract::check_imported_functions(&STRATEGY, &component)?;
    let linked = target.linker.instantiate_pre(&component);
    let linked = linked.map_err(|error| LoadError::ImportTypeMismatch {
        contract: STRATEGY.package,
        reason: format!("{error:#}"),
    })?;
    let functions = ExportedFunctions::find(&STRATEGY, &linked, guest)?;
    functions.check::<(), (guest::Descriptor,)>("describe")?;
    functions.check::<(&Plan,), (Result<(), String>,)>("run")?;
    StrategyPre::new(linked).map_err(compile_error)
}

async fn describe(program: &Program) -> Result<(Descriptor, ConfigSchema), LoadError> {
    let returned = program.describe().await.map_err(|error| match error {
        RunError::Trapped(cause) => LoadError::Describe(cause.message),
        RunError::Stopped(Stop::Fail(cause)) => {
            let reason = format!("{}, but describe may not make calls", cause.message);
            LoadError::Describe(reason)
        }
        RunError::Stopped(Stop::Suspend) | RunError::PoolFull => {
            LoadError::NoRoom("no room for another strategy instance".to_owned())
        }
        RunError::NoRoom(reason) => LoadError::NoRoom(reason),
    })?;
    blocking(|| check_descriptor(returned)).await
}

fn check_descriptor(returned: guest::Descriptor) -> Result<(Descriptor, ConfigSchema), LoadError> {
    let name = returned.name.parse().map_err(LoadError::InvalidName)?;
    check_own_version(&returned.version)?;
    let schema = ConfigSchema::parse(&returned.config_schema).map_err(LoadError::InvalidSchema)?;
    let descriptor = Descriptor {
        name,
        version: returned.version,
        summary: returned.summary,
        config_schema: schema.json().clone(),
    };
    Ok((descriptor, schema))
}

/// Checks the version that `describe` returned.
pub(crate) fn check_own_version(version: &str) -> Result<(), LoadError> {
    match Version::parse(version) {
        Ok(_) => Ok(()),
        Err(reason) => Err(LoadError::InvalidVersion {
            version: version.chars().take(64).collect(),
            reason,
        }),
    }
}
