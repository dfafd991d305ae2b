//! Checks a component against the contract, `wit/strategy/0.1.0`.

use semver::Version;
use wasmtime::Engine;
use wasmtime::component::types::{ComponentFunc, ComponentInstance, ComponentItem};
use wasmtime::component::{Component, InstancePre};

use super::error::LoadError;
use super::inspect::{ComponentNames, join_names};
use crate::bindings::exports::hotswap::strategy::guest::{Descriptor, Plan};
use crate::run::InstanceState;

/// The package of all interfaces that a strategy imports and exports.
const PACKAGE: &str = "hotswap:strategy/";

/// The version of the contract that this engine implements.
const SUPPORTED_VERSION: Version = Version::new(0, 1, 0);

/// Interfaces that a strategy may import, each with its functions.
const IMPORTS: &[(&str, &[&str])] = &[
    ("types", &[]),
    (
        "fleet",
        &["nodes", "stage", "shift", "promote", "revert", "probe"],
    ),
    ("analysis", &["soak"]),
    ("control", &["now", "sleep", "approval", "progress", "log"]),
];

/// The interface that a strategy must export.
const GUEST: &str = "guest";

/// The parts of an interface's name, `hotswap:strategy/fleet@0.1.0`.
struct InterfaceName<'a> {
    name: &'a str,
    version: Option<Version>,
}

/// The `guest` interface that a component exports.
#[derive(Debug)]
pub(crate) struct GuestExport {
    /// Its name as the component spells it, with the version.
    pub name: String,
    /// The version of the contract that the component was built for.
    pub version: Version,
}

/// Checks that a component imports only interfaces of the contract and exports `guest`, in
/// versions that this engine supports.
pub(crate) fn check_names(names: &ComponentNames) -> Result<GuestExport, LoadError> {
    for import in &names.imports {
        let Some(interface) = parse_interface(import) else {
            return Err(LoadError::ForbiddenImport(import.clone()));
        };
        if !IMPORTS.iter().any(|(name, _)| *name == interface.name) {
            return Err(LoadError::ForbiddenImport(import.clone()));
        }
        check_version("imports", import, interface.version)?;
    }
    for export in &names.exports {
        if let Some(interface) = parse_interface(export)
            && interface.name == GUEST
        {
            return Ok(GuestExport {
                name: export.clone(),
                version: check_version("exports", export, interface.version)?,
            });
        }
    }
    Err(LoadError::MissingGuestExport(join_names(&names.exports)))
}

/// Checks that a component imports only functions of the contract. Linking would find
/// unknown functions too, but with an error that says less to a person.
pub(crate) fn check_imported_functions(component: &Component) -> Result<(), LoadError> {
    let engine = component.engine();
    for (name, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = &import.ty else {
            continue;
        };
        let known = parse_interface(name)
            .and_then(|interface| IMPORTS.iter().find(|(name, _)| *name == interface.name));
        let Some((_, known)) = known else {
            return Err(LoadError::ForbiddenImport(name.to_owned()));
        };
        for (function, item) in instance.exports(engine) {
            if matches!(item.ty, ComponentItem::ComponentFunc(_)) && !known.contains(&function) {
                return Err(LoadError::UnknownFunction {
                    function: function.to_owned(),
                    interface: name.to_owned(),
                    supported: SUPPORTED_VERSION,
                });
            }
        }
    }
    Ok(())
}

/// Checks that a component exports the functions of `guest` with the contract's types.
pub(crate) fn check_exported_functions(
    component: &InstancePre<InstanceState>,
    guest: &GuestExport,
) -> Result<(), LoadError> {
    let engine = component.engine();
    let types = component.component().component_type();
    let instance = match types
        .get_export(engine, &guest.name)
        .map(|export| export.ty)
    {
        Some(ComponentItem::ComponentInstance(instance)) => instance,
        _ => return Err(LoadError::MissingGuestExport(guest.name.clone())),
    };
    let types = component.instance_type();
    let type_mismatch = |function, reason: wasmtime::Error| LoadError::ExportTypeMismatch {
        function,
        interface: guest.name.clone(),
        supported: SUPPORTED_VERSION,
        reason: format!("{reason:#}"),
    };
    find_function(engine, &instance, guest, "describe")?
        .typecheck::<(), (Descriptor,)>(&types)
        .map_err(|reason| type_mismatch("describe", reason))?;
    find_function(engine, &instance, guest, "run")?
        .typecheck::<(&Plan,), (Result<(), String>,)>(&types)
        .map_err(|reason| type_mismatch("run", reason))
}

fn find_function(
    engine: &Engine,
    instance: &ComponentInstance,
    guest: &GuestExport,
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

/// Splits the name of an interface; `None` if it belongs to another package.
fn parse_interface(name: &str) -> Option<InterfaceName<'_>> {
    let rest = name.strip_prefix(PACKAGE)?;
    match rest.split_once('@') {
        Some((name, version)) => Some(InterfaceName {
            name,
            version: Version::parse(version).ok(),
        }),
        None => Some(InterfaceName {
            name: rest,
            version: None,
        }),
    }
}

/// Returns the version if this engine supports it. Before 1.0 a new minor version is a
/// breaking change.
fn check_version(
    direction: &'static str,
    name: &str,
    version: Option<Version>,
) -> Result<Version, LoadError> {
    match version {
        Some(version)
            if (version.major, version.minor)
                == (SUPPORTED_VERSION.major, SUPPORTED_VERSION.minor)
                && version.pre.is_empty() =>
        {
            Ok(version)
        }
        _ => Err(LoadError::UnsupportedVersion {
            direction,
            name: name.to_owned(),
            supported: SUPPORTED_VERSION,
        }),
    }
}
