//! Whether a component keeps to the contract: `wit/strategy/0.1.0`.

use semver::Version;
use wasmtime::Engine;
use wasmtime::component::types::{ComponentFunc, ComponentInstance, ComponentItem};
use wasmtime::component::{Component, InstancePre};

use crate::bindings::exports::hotswap::strategy::guest::{Descriptor, Plan};
use crate::inspect::{Names, listed};
use crate::load::LoadError;
use crate::state::State;

/// The package of all that a strategy imports and exports.
const PACKAGE: &str = "hotswap:strategy/";

/// The version of the contract that this engine offers.
const OFFERED: Version = Version::new(0, 1, 0);

/// What a strategy may import, and what is in it.
const IMPORTS: &[(&str, &[&str])] = &[
    ("types", &[]),
    (
        "fleet",
        &["nodes", "stage", "shift", "promote", "revert", "probe"],
    ),
    ("analysis", &["soak"]),
    ("control", &["now", "sleep", "approval", "progress", "log"]),
];

/// What it must export.
const GUEST: &str = "guest";

/// An interface's name, taken apart: `hotswap:strategy/fleet@0.1.0`.
struct Interface<'a> {
    name: &'a str,
    version: Option<Version>,
}

/// The export by which a component is a strategy.
#[derive(Debug)]
pub(crate) struct Guest {
    /// Its name, as the component writes it.
    pub name: String,
    /// The version of the contract that the component was built for.
    pub version: Version,
}

/// Holds the names against the contract.
pub(crate) fn names(names: &Names) -> Result<Guest, LoadError> {
    for import in &names.imports {
        let Some(interface) = interface(import) else {
            return Err(LoadError::ForeignImport(import.clone()));
        };
        if !IMPORTS.iter().any(|(name, _)| *name == interface.name) {
            return Err(LoadError::ForeignImport(import.clone()));
        }
        version("imports", import, interface.version)?;
    }
    for export in &names.exports {
        if let Some(interface) = interface(export)
            && interface.name == GUEST
        {
            return Ok(Guest {
                name: export.clone(),
                version: version("exports", export, interface.version)?,
            });
        }
    }
    Err(LoadError::NoStrategy(listed(&names.exports)))
}

/// Holds what the names stand for against the contract, as far as wasmtime's own linking
/// does not say it in words for a person: functions that the contract has not.
pub(crate) fn functions(component: &Component) -> Result<(), LoadError> {
    let engine = component.engine();
    for (name, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = &import.ty else {
            continue;
        };
        let known = interface(name)
            .and_then(|interface| IMPORTS.iter().find(|(name, _)| *name == interface.name));
        let Some((_, known)) = known else {
            return Err(LoadError::ForeignImport(name.to_owned()));
        };
        for (function, item) in instance.exports(engine) {
            if matches!(item.ty, ComponentItem::ComponentFunc(_)) && !known.contains(&function) {
                return Err(LoadError::ForeignFunction {
                    function: function.to_owned(),
                    interface: name.to_owned(),
                    offered: OFFERED,
                });
            }
        }
    }
    Ok(())
}

/// Whether the exported functions are there and have the contract's types.
pub(crate) fn exports(program: &InstancePre<State>, guest: &Guest) -> Result<(), LoadError> {
    let engine = program.engine();
    let types = program.component().component_type();
    let instance = match types
        .get_export(engine, &guest.name)
        .map(|export| export.ty)
    {
        Some(ComponentItem::ComponentInstance(instance)) => instance,
        _ => return Err(LoadError::NoStrategy(guest.name.clone())),
    };
    let types = program.instance_type();
    let differs = |function, reason: wasmtime::Error| LoadError::ForeignTypes {
        function,
        interface: guest.name.clone(),
        offered: OFFERED,
        reason: format!("{reason:#}"),
    };
    function(engine, &instance, guest, "describe")?
        .typecheck::<(), (Descriptor,)>(&types)
        .map_err(|reason| differs("describe", reason))?;
    function(engine, &instance, guest, "run")?
        .typecheck::<(&Plan,), (Result<(), String>,)>(&types)
        .map_err(|reason| differs("run", reason))
}

fn function(
    engine: &Engine,
    instance: &ComponentInstance,
    guest: &Guest,
    name: &'static str,
) -> Result<ComponentFunc, LoadError> {
    match instance.get_export(engine, name).map(|export| export.ty) {
        Some(ComponentItem::ComponentFunc(function)) => Ok(function),
        _ => Err(LoadError::MissingFunction {
            function: name,
            interface: guest.name.clone(),
        }),
    }
}

fn interface(name: &str) -> Option<Interface<'_>> {
    let rest = name.strip_prefix(PACKAGE)?;
    match rest.split_once('@') {
        Some((name, version)) => Some(Interface {
            name,
            version: Version::parse(version).ok(),
        }),
        None => Some(Interface {
            name: rest,
            version: None,
        }),
    }
}

/// The version, if this engine can serve it: before 1.0 the minor number is what breaks.
fn version(
    direction: &'static str,
    name: &str,
    version: Option<Version>,
) -> Result<Version, LoadError> {
    match version {
        Some(version)
            if (version.major, version.minor) == (OFFERED.major, OFFERED.minor)
                && version.pre.is_empty() =>
        {
            Ok(version)
        }
        _ => Err(LoadError::ForeignVersion {
            direction,
            name: name.to_owned(),
            offered: OFFERED,
        }),
    }
}
