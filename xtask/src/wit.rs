//! Checks and releases the contracts in `wit/`, which has a folder for each contract, with a
//! folder for each of its versions.
//!
//! A released version has a record, `wit/released/<contract>-<version>.txt`: every item with
//! its type, without documentation. The record is text, not a digest, so that a failed check
//! can name the item. It is a normal form, not a copy of the WIT, so that documentation and the
//! order of items may still change.
//!
//! A released version must equal its record. Even an addition is an error: guests could use it
//! that an engine of the same version would then reject. A version without a record is
//! unreleased, and may change in any way.

mod documentation;
mod normal_form;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use wit_parser::{PackageId, Resolve};

use self::normal_form::NormalForm;

/// The folder of the records, next to the contracts.
const RECORDS_FOLDER: &str = "released";

/// One version of a contract.
struct ContractVersion {
    name: String,
    version: String,
    folder: PathBuf,
}

/// Checks that every item of every version has a doc comment and `@since`, and that released
/// versions have not changed.
///
/// # Errors
/// Lists all problems, each with its contract and item.
pub fn check(wit: &Path) -> Result<()> {
    let mut problems = Vec::new();
    let contracts = contracts(wit)?;
    for contract in &contracts {
        let (resolve, package) = contract.parse()?;
        let record = contract.record(wit);
        let mut found = documentation::find_undocumented_items(&resolve, package);
        if record.exists() {
            found.extend(
                NormalForm::read(&record)?.describe_changes(&NormalForm::new(&resolve, package)),
            );
        }
        let folder = format!("wit/{}/{}", contract.name, contract.version);
        problems.extend(found.iter().map(|text| format!("{folder}: {text}")));
    }
    problems.extend(find_missing_versions(wit, &contracts)?);
    ensure!(
        problems.is_empty(),
        "the contracts have problems:\n  {}",
        problems.join("\n  ")
    );
    Ok(())
}

/// Records a version as released.
///
/// # Errors
/// If the version does not exist, is released already, or has undocumented items.
pub fn release(wit: &Path, name: &str, version: &str) -> Result<()> {
    let contracts = contracts(wit)?;
    let contract = contracts
        .iter()
        .find(|contract| contract.name == name && contract.version == version)
        .with_context(|| format!("there is no wit/{name}/{version}"))?;
    let (resolve, package) = contract.parse()?;
    let undocumented = documentation::find_undocumented_items(&resolve, package);
    ensure!(
        undocumented.is_empty(),
        "wit/{name}/{version} is not ready for a release:\n  {}",
        undocumented.join("\n  ")
    );
    let record = contract.record(wit);
    ensure!(!record.exists(), "wit/{name}/{version} is already released");
    fs::create_dir_all(wit.join(RECORDS_FOLDER)).context("cannot create the folder for records")?;
    fs::write(&record, NormalForm::new(&resolve, package).to_string())
        .with_context(|| format!("cannot write {}", record.display()))
}

impl ContractVersion {
    fn parse(&self) -> Result<(Resolve, PackageId)> {
        let mut resolve = Resolve {
            all_features: true,
            ..Resolve::default()
        };
        let (package, _) = resolve
            .push_dir(&self.folder)
            .with_context(|| format!("cannot parse {}", self.folder.display()))?;
        let package_name = &resolve.packages[package].name;
        let package_version = package_name.version.as_ref().map(ToString::to_string);
        ensure!(
            package_name.name == self.name && package_version.as_ref() == Some(&self.version),
            "the folder wit/{}/{} contains the package {package_name}: give both the same name and version",
            self.name,
            self.version
        );
        Ok((resolve, package))
    }

    /// The path of its record.
    fn record(&self, wit: &Path) -> PathBuf {
        wit.join(RECORDS_FOLDER)
            .join(format!("{}-{}.txt", self.name, self.version))
    }
}

/// A problem for each record whose version is missing: engines must still run its guests.
fn find_missing_versions(wit: &Path, contracts: &[ContractVersion]) -> Result<Vec<String>> {
    let folder = wit.join(RECORDS_FOLDER);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let expected: Vec<_> = contracts
        .iter()
        .map(|contract| contract.record(wit))
        .collect();
    let records = entries(&folder)?;
    Ok(records
        .iter()
        .filter(|record| !expected.contains(record))
        .map(|record| {
            let version = record.file_stem().unwrap_or_default().to_string_lossy();
            format!("{version} is released, but its folder is missing: restore it")
        })
        .collect())
}

/// Every version of every contract, sorted.
fn contracts(wit: &Path) -> Result<Vec<ContractVersion>> {
    let mut contracts = Vec::new();
    for outer in entries(wit)? {
        if !outer.is_dir() || outer.ends_with(RECORDS_FOLDER) {
            continue;
        }
        for folder in entries(&outer)? {
            let (Some(name), Some(version)) = (file_name(&outer), file_name(&folder)) else {
                bail!("a file name in {} is not UTF-8", wit.display());
            };
            contracts.push(ContractVersion {
                name,
                version,
                folder,
            });
        }
    }
    Ok(contracts)
}

fn file_name(path: &Path) -> Option<String> {
    path.file_name()?.to_str().map(str::to_owned)
}

/// The sorted paths in a folder.
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
