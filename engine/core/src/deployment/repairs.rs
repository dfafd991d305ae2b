//! What people read of nodes that were brought back while the deployment went on.

use crate::{NodeError, Repair};

pub(super) fn repaired(repair: &Repair) -> String {
    let Repair { node, .. } = repair;
    format!(
        "{node} ran {} and was brought back to {}",
        ran(repair),
        should(repair)
    )
}

pub(super) fn failed(repair: &Repair, error: &NodeError) -> String {
    let Repair { node, .. } = repair;
    let (ran, should) = (ran(repair), should(repair));
    format!(
        "{node} runs {ran} and could not be brought back to {should}: {error}; the engine goes on trying"
    )
}

fn ran(repair: &Repair) -> String {
    name(repair.from.as_ref())
}

fn should(repair: &Repair) -> String {
    name(repair.to.as_ref())
}

fn name(version: Option<&crate::ModuleVersion>) -> String {
    version.map_or_else(|| "no version".to_owned(), |one| one.version.to_string())
}
