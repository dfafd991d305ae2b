//! The reports of nodes about their modules.

use std::collections::BTreeMap;
use std::sync::Arc;

use hotswap_core::{ModuleName, ModuleVersion};
use hotswap_protocol::{ModuleReport, Slot, Version};

use super::error::Error;
use super::validate::truncate_reason;

/// Modules that a node can report. More are an error of the node.
const MAX_MODULES: usize = 4096;

/// The modules of a node, as it last reported them.
pub type ModuleStates = BTreeMap<ModuleName, ModuleState>;

/// The slots of a module on a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModuleState {
    /// The version that serves requests, unless `faults` says otherwise.
    pub active: Option<ModuleVersion>,
    /// The version beside it.
    pub staged: Option<ModuleVersion>,
    /// The version that was active before.
    pub previous: Option<ModuleVersion>,
    /// Percentage of requests that the staged version serves.
    pub percent: u8,
    /// The versions in slots that are not loaded.
    pub faults: Vec<Fault>,
}

/// A version in a slot that the node has not loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The slot.
    pub slot: Slot,
    /// The version in it.
    pub version: ModuleVersion,
    /// Why, in a sentence.
    pub reason: String,
}

impl ModuleState {
    /// The version that serves requests. `None` if there is none, or it is not loaded.
    pub fn serving(&self) -> Option<&ModuleVersion> {
        let is_loaded = self.active_fault().is_none();
        self.active.as_ref().filter(|_| is_loaded)
    }

    /// Why the active version is not loaded.
    pub fn active_fault(&self) -> Option<&Fault> {
        self.faults.iter().find(|fault| fault.slot == Slot::Active)
    }
}

/// # Errors
/// [`Error::Invalid`] if a name, a version or a digest is invalid.
pub(super) fn parse_modules(modules: Vec<ModuleReport>) -> Result<Arc<ModuleStates>, Error> {
    if modules.len() > MAX_MODULES {
        let count = modules.len();
        return Err(Error::Invalid(format!(
            "modules: there are {count}; report at most {MAX_MODULES}"
        )));
    }
    let states: Result<ModuleStates, Error> = modules.into_iter().map(parse_module).collect();
    states.map(Arc::new)
}

fn parse_module(report: ModuleReport) -> Result<(ModuleName, ModuleState), Error> {
    let name: ModuleName = report.module.parse().map_err(invalid)?;
    let parse = |version: Version| -> Result<ModuleVersion, Error> {
        let number = semver::Version::parse(&version.version);
        Ok(ModuleVersion {
            name: name.clone(),
            version: number.map_err(|error| Error::Invalid(format!("modules: {error}")))?,
            digest: version.digest.parse().map_err(invalid)?,
        })
    };
    let faults = report.faults.into_iter().map(|fault| {
        Ok(Fault {
            slot: fault.slot,
            version: parse(fault.version)?,
            reason: truncate_reason(fault.reason),
        })
    });
    let state = ModuleState {
        active: report.active.map(parse).transpose()?,
        staged: report.staged.map(parse).transpose()?,
        previous: report.previous.map(parse).transpose()?,
        percent: report.percent,
        faults: faults.collect::<Result<_, Error>>()?,
    };
    Ok((name, state))
}

fn invalid(error: hotswap_core::ParseError) -> Error {
    Error::Invalid(format!("modules: {error}"))
}
