//! The contracts in `wit/`: a folder each, and in it a folder for each version.
//!
//! A released version is recorded in `wit/released/<contract>-<version>.txt`: every
//! item with its type, without the documentation. The record is text rather than a
//! digest so that a failed check can name the item, and a normal form rather than a
//! copy of the WIT so that documentation and the order of items may still change. A
//! released version must equal its record: even an addition would let a guest be
//! built that an engine of the same version refuses. A folder without a record is
//! unreleased and may change in any way.

mod complaint;
mod normal;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use wit_parser::{PackageId, Resolve};

use self::normal::Normal;

/// The folder of the records, beside the contracts.
const RECORDS: &str = "released";

/// One version of one contract.
struct Contract {
    name: String,
    version: String,
    folder: PathBuf,
}

/// Checks that every item of every version is documented and says since when it
/// exists, and that released versions are as they were released.
///
/// # Errors
/// Lists everything found, each with its contract and item.
pub fn check(wit: &Path) -> Result<()> {
    let mut complaints = Vec::new();
    let contracts = contracts(wit)?;
    for contract in &contracts {
        let (resolve, package) = contract.parse()?;
        let record = contract.record(wit);
        let mut found = complaint::undocumented(&resolve, package);
        if record.exists() {
            found.extend(Normal::read(&record)?.changes(&Normal::of(&resolve, package)));
        }
        let place = format!("wit/{}/{}", contract.name, contract.version);
        complaints.extend(found.iter().map(|text| format!("{place}: {text}")));
    }
    complaints.extend(lost(wit, &contracts)?);
    ensure!(
        complaints.is_empty(),
        "the contracts are not in order:\n  {}",
        complaints.join("\n  ")
    );
    Ok(())
}

/// Records a version as released.
///
/// # Errors
/// It does not exist, is recorded already, or is not documented throughout.
pub fn release(wit: &Path, name: &str, version: &str) -> Result<()> {
    let contracts = contracts(wit)?;
    let contract = contracts
        .iter()
        .find(|contract| contract.name == name && contract.version == version)
        .with_context(|| format!("there is no wit/{name}/{version}"))?;
    let (resolve, package) = contract.parse()?;
    let found = complaint::undocumented(&resolve, package);
    ensure!(
        found.is_empty(),
        "not ready for a release:\n  {}",
        found.join("\n  ")
    );
    let record = contract.record(wit);
    ensure!(!record.exists(), "wit/{name}/{version} is released already");
    fs::create_dir_all(wit.join(RECORDS)).context("cannot create the folder of the records")?;
    fs::write(&record, Normal::of(&resolve, package).to_string())
        .with_context(|| format!("cannot write {}", record.display()))
}

impl Contract {
    fn parse(&self) -> Result<(Resolve, PackageId)> {
        let mut resolve = Resolve {
            all_features: true,
            ..Resolve::default()
        };
        let (package, _) = resolve
            .push_dir(&self.folder)
            .with_context(|| format!("cannot parse {}", self.folder.display()))?;
        let name = &resolve.packages[package].name;
        ensure!(
            name.name == self.name
                && name.version.as_ref().map(ToString::to_string).as_ref() == Some(&self.version),
            "the folder wit/{}/{} holds the package {name}",
            self.name,
            self.version
        );
        Ok((resolve, package))
    }

    fn record(&self, wit: &Path) -> PathBuf {
        wit.join(RECORDS)
            .join(format!("{}-{}.txt", self.name, self.version))
    }
}

/// Records whose version is gone: engines still promise to run its guests.
fn lost(wit: &Path, contracts: &[Contract]) -> Result<Vec<String>> {
    let folder = wit.join(RECORDS);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let known: Vec<_> = contracts.iter().map(|c| c.record(wit)).collect();
    let records = entries(&folder)?;
    Ok(records
        .iter()
        .filter(|record| !known.contains(record))
        .map(|record| {
            let version = record.file_stem().unwrap_or_default().to_string_lossy();
            format!("{version} is released, and its folder is gone: bring it back")
        })
        .collect())
}

/// Every version of every contract, sorted.
fn contracts(wit: &Path) -> Result<Vec<Contract>> {
    let mut contracts = Vec::new();
    for outer in entries(wit)? {
        if !outer.is_dir() || outer.ends_with(RECORDS) {
            continue;
        }
        for folder in entries(&outer)? {
            let (Some(name), Some(version)) = (text(&outer), text(&folder)) else {
                bail!("a name in {} is not text", wit.display());
            };
            contracts.push(Contract {
                name,
                version,
                folder,
            });
        }
    }
    Ok(contracts)
}

fn text(path: &Path) -> Option<String> {
    path.file_name()?.to_str().map(str::to_owned)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("cannot read {}", folder.display());
    let mut paths = fs::read_dir(folder)
        .with_context(context)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()
        .with_context(context)?;
    paths.sort();
    Ok(paths)
}
