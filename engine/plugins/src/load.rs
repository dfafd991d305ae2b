use std::sync::Arc;

use hotswap_core::Digest;
use semver::Version;
use tokio::task;
use wasmtime::component::Component;

use crate::bindings::StrategyPre;
use crate::bindings::exports::hotswap::strategy::guest;
use crate::contract::{self, Guest};
use crate::drive::End;
use crate::host::{Host, Shared};
use crate::inspect;
use crate::program::Program;
use crate::schema::{ConfigSchema, SchemaError};
use crate::state::State;
use crate::strategy::{Descriptor, Stop, Strategy};

/// Why a component is no strategy that this engine runs, in a sentence that says what to
/// do about it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is too large.
    #[error(
        "it has {size} bytes, and a strategy may have {limit}: build it without debug \
         information, and optimised for size"
    )]
    TooLarge {
        /// What it has.
        size: usize,
        /// What it may have.
        limit: usize,
    },
    /// It is no component.
    #[error(transparent)]
    Component(#[from] inspect::Error),
    /// It imports what a strategy cannot have.
    #[error(
        "it imports {0}, which a strategy cannot have: all that it may import are the \
         interfaces fleet, analysis and control of hotswap:strategy@0.1; build it for \
         wasm32-unknown-unknown, and without what reads files, clocks or random numbers"
    )]
    ForeignImport(String),
    /// It imports a function that the contract does not have.
    #[error(
        "it imports {function} of {interface}, and this engine offers version {offered}, which \
         has no such function: update the engine, or build it against that version"
    )]
    ForeignFunction {
        /// The function.
        function: String,
        /// Of this interface.
        interface: String,
        /// The version that the engine has.
        offered: Version,
    },
    /// It was built for another version of the contract.
    #[error(
        "it {direction} {name}, and this engine offers version {offered}: build it against a \
         version 0.1 of hotswap:strategy"
    )]
    ForeignVersion {
        /// `imports` or `exports`.
        direction: &'static str,
        /// The interface's name, with the version.
        name: String,
        /// The version that the engine has.
        offered: Version,
    },
    /// It imports a function of the contract with other types.
    #[error("its imports differ from those of hotswap:strategy@0.1: {0}")]
    ForeignImports(String),
    /// It exports a function of the contract with other types.
    #[error("its {function} of {interface} has other types than version {offered}: {reason}")]
    ForeignTypes {
        /// The function.
        function: &'static str,
        /// Of this interface.
        interface: String,
        /// The version that the engine has.
        offered: Version,
        /// The difference.
        reason: String,
    },
    /// It does not export what makes a strategy.
    #[error(
        "it does not export hotswap:strategy/guest@0.1, which makes a component a strategy; it \
         exports {0}"
    )]
    NoStrategy(String),
    /// It exports only a part of it.
    #[error("its {interface} has no function {function}")]
    MissingFunction {
        /// The function.
        function: &'static str,
        /// Of this interface.
        interface: String,
    },
    /// It cannot be compiled, or no instance can be made of it within the limits.
    #[error("it cannot be compiled: {0}")]
    Compile(String),
    /// It cannot say what it is.
    #[error("its describe fails: {0}")]
    Describe(String),
    /// What it calls itself is no name.
    #[error("its describe returns a name that is none: {0}")]
    Name(hotswap_core::ParseError),
    /// The version that it says of itself is none.
    #[error("its describe returns the version {version:?}, which is not semantic: {reason}")]
    Version {
        /// What it says.
        version: String,
        /// What is wrong with it.
        reason: semver::Error,
    },
    /// The schema of its configuration does not do.
    #[error("its describe returns a schema of its configuration that does not do: {0}")]
    Schema(SchemaError),
}

impl Host {
    /// Makes a strategy of a component: checks what it imports and exports, compiles it
    /// on a thread for such work (some 30 ms of a small one), and asks it what it is.
    /// Needs a tokio runtime. Cancel safe; what has begun to compile is compiled for
    /// nothing.
    ///
    /// # Errors
    /// With what is wrong and what to do about it.
    pub async fn load(&self, component: &[u8]) -> Result<Strategy, LoadError> {
        let limit = self.shared.limits.component;
        if component.len() > limit {
            return Err(LoadError::TooLarge {
                size: component.len(),
                limit,
            });
        }
        let digest = Digest::of(component);
        if let Some(strategy) = self.loaded(digest) {
            return Ok(strategy);
        }
        let guest = contract::names(&inspect::names(component)?)?;
        let wit = guest.version.clone();

        let bytes = component.to_vec();
        let shared = Arc::clone(&self.shared);
        let compiled = task::spawn_blocking(move || {
            let program = compile(&shared, &bytes, &guest)?;
            Ok(Program::new(shared, program))
        });
        let program = compiled.await.unwrap_or_else(|_| {
            let reason = "the compiler failed, which is a fault of the engine: please report it";
            Err(LoadError::Compile(reason.to_owned()))
        })?;

        let said = program.describe().await.map_err(|end| {
            LoadError::Describe(match end {
                End::Trapped(cause) => cause.message,
                End::Stopped(Stop::Fail(cause)) => {
                    format!("{}, and it may call nothing", cause.message)
                }
                End::Stopped(Stop::Suspend) | End::Full => "there is no room for it".to_owned(),
            })
        })?;
        let (descriptor, schema) = descriptor(said)?;
        let strategy = Strategy::new(digest, wit, descriptor, schema, program);
        self.keep(strategy.clone());
        Ok(strategy)
    }
}

fn compile(shared: &Shared, bytes: &[u8], guest: &Guest) -> Result<StrategyPre<State>, LoadError> {
    let linked = &shared.pooled;
    let reason = |error: wasmtime::Error| LoadError::Compile(format!("{error:#}"));
    let component = Component::from_binary(&linked.engine, bytes).map_err(reason)?;
    contract::functions(&component)?;
    let program = linked
        .linker
        .instantiate_pre(&component)
        .map_err(|error| LoadError::ForeignImports(format!("{error:#}")))?;
    contract::exports(&program, guest)?;
    StrategyPre::new(program).map_err(reason)
}

fn descriptor(said: guest::Descriptor) -> Result<(Descriptor, ConfigSchema), LoadError> {
    let name = said.name.parse().map_err(LoadError::Name)?;
    if let Err(reason) = Version::parse(&said.version) {
        return Err(LoadError::Version {
            version: said.version.chars().take(64).collect(),
            reason,
        });
    }
    let schema = ConfigSchema::parse(&said.config_schema).map_err(LoadError::Schema)?;
    let descriptor = Descriptor {
        name,
        version: said.version,
        summary: said.summary,
        config_schema: schema.json().clone(),
    };
    Ok((descriptor, schema))
}
