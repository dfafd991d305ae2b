//! Checks a component against the contract that it was built for, one of those in `wit/`.

use semver::Version;
use wasmtime::component::types::{ComponentInstance, ComponentItem};
use wasmtime::component::{Component, ComponentNamedList, InstancePre, Lift, Lower};

use super::error::LoadError;
use super::inspect::{ComponentNames, join_names};

/// A contract between the engine and a kind of components.
pub(crate) struct Contract {
    /// Who is built for it: `a strategy`.
    pub role: &'static str,
    /// The package of its interfaces: `hotswap:strategy`.
    pub package: &'static str,
    /// Its version that this engine implements.
    pub version: Version,
    /// Its interfaces that a component may import, each with its functions.
    pub imports: &'static [(&'static str, &'static [&'static str])],
    /// Interfaces of other packages that a component may import in a version 0.2.
    pub foreign_imports: &'static [&'static str],
    /// What a component may import, in words.
    pub allowed: &'static str,
    /// The interface that a component must export.
    pub export: &'static str,
}

/// The contract with strategies, `wit/strategy/0.1.0`.
pub(crate) static STRATEGY: Contract = Contract {
    role: "a strategy",
    package: "hotswap:strategy",
    version: Version::new(0, 1, 0),
    imports: &[
        ("types", &[]),
        (
            "fleet",
            &["nodes", "stage", "shift", "promote", "revert", "probe"],
        ),
        ("analysis", &["soak"]),
        ("control", &["now", "sleep", "approval", "progress", "log"]),
    ],
    foreign_imports: &[],
    allowed: "the interfaces fleet, analysis and control of hotswap:strategy@0.1",
    export: "guest",
};

/// The contract with discovery backends, `wit/discovery/0.1.0`.
pub(crate) static DISCOVERY: Contract = Contract {
    role: "a discovery backend",
    package: "hotswap:discovery",
    version: Version::new(0, 1, 0),
    imports: &[
        ("types", &[]),
        ("dns", &["srv", "addresses"]),
        ("clock", &["now", "sleep"]),
        ("log", &["write"]),
    ],
    foreign_imports: &[
        "wasi:http/types",
        "wasi:http/outgoing-handler",
        "wasi:io/error",
        "wasi:io/poll",
        "wasi:io/streams",
        "wasi:clocks/monotonic-clock",
    ],
    allowed: "the interfaces dns, clock and log of hotswap:discovery@0.1, and \
              wasi:http/outgoing-handler@0.2",
    export: "backend",
};

/// The parts of an interface's name, `hotswap:strategy/fleet@0.1.0`.
struct InterfaceName<'a> {
    name: &'a str,
    version: Option<Version>,
}

/// The interface of a contract that a component exports.
#[derive(Debug)]
pub(crate) struct ContractExport {
    /// Its name as the component spells it, with the version.
    pub name: String,
    /// The version of the contract that the component was built for.
    pub version: Version,
}

/// Checks that a component imports only what the contract allows and exports its interface, in
/// versions that this engine supports.
pub(crate) fn check_names(
    contract: &Contract,
    names: &ComponentNames,
) -> Result<ContractExport, LoadError> {
    for import in &names.imports {
        if contract.allows_foreign(import) {
            continue;
        }
        let interface = contract.parse_interface(import);
        let interface = interface.ok_or_else(|| contract.forbidden(import))?;
        if contract.functions(interface.name).is_none() {
            return Err(contract.forbidden(import));
        }
        contract.check_version("imports", import, interface.version)?;
    }
    for export in &names.exports {
        if let Some(interface) = contract.parse_interface(export)
            && interface.name == contract.export
        {
            return Ok(ContractExport {
                name: export.clone(),
                version: contract.check_version("exports", export, interface.version)?,
            });
        }
    }
    Err(contract.missing_export(join_names(&names.exports)))
}

/// Checks that a component imports only functions of the contract. Linking would find
/// unknown functions too, but with an error that says less to a person.
pub(crate) fn check_imported_functions(
    contract: &Contract,
    component: &Component,
) -> Result<(), LoadError> {
    let engine = component.engine();
    for (name, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = &import.ty else {
            continue;
        };
        if contract.allows_foreign(name) {
            continue;
        }
        let known = contract
            .parse_interface(name)
            .and_then(|interface| contract.functions(interface.name));
        let known = known.ok_or_else(|| contract.forbidden(name))?;
        for (function, item) in instance.exports(engine) {
            if matches!(item.ty, ComponentItem::ComponentFunc(_)) && !known.contains(&function) {
                return Err(LoadError::UnknownFunction {
                    function: function.to_owned(),
                    interface: name.to_owned(),
                    supported: contract.version.clone(),
                });
            }
        }
    }
    Ok(())
}

/// The functions that a linked component exports for a contract.
pub(crate) struct ExportedFunctions<'a, T: 'static> {
    contract: &'a Contract,
    export: &'a ContractExport,
    component: &'a InstancePre<T>,
    instance: ComponentInstance,
}

impl<'a, T: 'static> ExportedFunctions<'a, T> {
    pub(crate) fn find(
        contract: &'a Contract,
        component: &'a InstancePre<T>,
        export: &'a ContractExport,
    ) -> Result<Self, LoadError> {
        let types = component.component().component_type();
        let item = types.get_export(component.engine(), &export.name);
        match item.map(|item| item.ty) {
            Some(ComponentItem::ComponentInstance(instance)) => Ok(Self {
                contract,
                export,
                component,
                instance,
            }),
            _ => Err(contract.missing_export(export.name.clone())),
        }
    }

    /// Checks that a function is there, with these parameters and results.
    pub(crate) fn check<P, R>(&self, function: &'static str) -> Result<(), LoadError>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let item = self
            .instance
            .get_export(self.component.engine(), function)
            .map(|item| item.ty);
        let Some(ComponentItem::ComponentFunc(found)) = item else {
            return Err(LoadError::MissingFunction {
                function,
                interface: self.export.name.clone(),
            });
        };
        let types = self.component.instance_type();
        found
            .typecheck::<P, R>(&types)
            .map_err(|reason| LoadError::ExportTypeMismatch {
                function,
                interface: self.export.name.clone(),
                supported: self.contract.version.clone(),
                reason: format!("{reason:#}"),
            })
    }
}

impl Contract {
    fn functions(&self, interface: &str) -> Option<&'static [&'static str]> {
        let found = self.imports.iter().find(|(name, _)| *name == interface);
        found.map(|(_, functions)| *functions)
    }

    fn allows_foreign(&self, import: &str) -> bool {
        import.split_once('@').is_some_and(|(name, version)| {
            version.starts_with("0.2.") && self.foreign_imports.contains(&name)
        })
    }

    fn forbidden(&self, import: &str) -> LoadError {
        LoadError::ForbiddenImport {
            import: import.to_owned(),
            role: self.role,
            allowed: self.allowed,
        }
    }

    fn missing_export(&self, exports: String) -> LoadError {
        LoadError::MissingExport {
            contract: self.package,
            interface: self.export,
            role: self.role,
            exports,
        }
    }

    /// Splits the name of an interface; `None` if it belongs to another package.
    fn parse_interface<'a>(&self, name: &'a str) -> Option<InterfaceName<'a>> {
        let rest = name.strip_prefix(self.package)?.strip_prefix('/')?;
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
        &self,
        direction: &'static str,
        name: &str,
        version: Option<Version>,
    ) -> Result<Version, LoadError> {
        match version {
            Some(version)
                if (version.major, version.minor) == (self.version.major, self.version.minor)
                    && version.pre.is_empty() =>
            {
                Ok(version)
            }
            _ => Err(LoadError::UnsupportedVersion {
                direction,
                name: name.to_owned(),
                contract: self.package,
                supported: self.version.clone(),
            }),
        }
    }
}
