use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use hotswap_core::{Digest, ModuleName};
use hotswap_protocol::{Action, Version};
use serde::{Deserialize, Serialize};

use crate::folder;
use crate::slots::Slots;

/// Operations whose outcome is remembered. A deployment repeats only its latest.
const OPERATIONS: usize = 256;

/// Versions whose artifact is kept after they left the slots: a rollback to one of them
/// needs no transfer.
const RECENT: usize = 5;

/// What a node keeps of one module: a JSON file of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) slots: Slots,
    /// The highest fence seen.
    pub(crate) fence: u64,
    /// Carried out, the latest last.
    operations: VecDeque<Operation>,
    /// Versions that were in a slot, the latest last.
    recent: VecDeque<Version>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Operation {
    id: String,
    /// Of the action, to tell an operation's repetition from another of the same id.
    action: Digest,
}

/// What is remembered of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing.
    New,
    /// It was carried out.
    Done,
    /// Another action was carried out under its id.
    Different,
}

impl Record {
    /// What is remembered of an operation.
    pub(crate) fn knows(&self, id: &str, action: &Action) -> Known {
        match self.operations.iter().rev().find(|known| known.id == id) {
            None => Known::New,
            Some(known) if known.action == digest(action) => Known::Done,
            Some(_) => Known::Different,
        }
    }

    /// The record once an operation was carried out that leads to these slots.
    pub(crate) fn done(&self, id: &str, action: &Action, fence: u64, slots: Slots) -> Self {
        let mut next = self.clone();
        for version in slots.versions() {
            next.recent.retain(|recent| recent != version);
            next.recent.push_back(version.clone());
        }
        let held = slots.versions().count();
        let excess = next.recent.len().saturating_sub(RECENT + held);
        next.recent.drain(..excess);
        next.operations.push_back(Operation {
            id: id.to_owned(),
            action: digest(action),
        });
        let excess = next.operations.len().saturating_sub(OPERATIONS);
        next.operations.drain(..excess);
        next.fence = fence;
        next.slots = slots;
        next
    }

    /// The same with a higher fence.
    pub(crate) fn raised(&self, fence: u64) -> Self {
        Self {
            fence,
            ..self.clone()
        }
    }

    /// The versions whose artifacts are kept.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Version> {
        self.recent.iter().chain(self.slots.versions())
    }
}

fn digest(action: &Action) -> Digest {
    // An object of strings and numbers always serialises.
    Digest::of(&serde_json::to_vec(action).unwrap_or_default())
}

/// The files of all modules' records.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    folder: PathBuf,
}

/// A record that cannot be read. Its file was set aside; the others are not touched.
#[derive(Debug, thiserror::Error)]
#[error("the record of module {module} was damaged and is set aside as {}", aside.display())]
pub(crate) struct Damaged {
    pub(crate) module: ModuleName,
    aside: PathBuf,
    #[source]
    source: serde_json::Error,
}

impl Records {
    /// In `folder`, which is made if absent.
    pub(crate) fn new(folder: PathBuf) -> io::Result<Self> {
        folder::create(&folder)?;
        folder::sweep(&folder)?;
        Ok(Self { folder })
    }

    /// Every record, sorted by module.
    ///
    /// # Errors
    /// Where the folder or a file cannot be read at all.
    pub(crate) fn read(&self) -> io::Result<Vec<(ModuleName, Result<Record, Damaged>)>> {
        let mut records = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let module = stem.and_then(|stem| stem.parse::<ModuleName>().ok());
            let (Some(module), Some("json")) = (
                module,
                path.extension().and_then(|extension| extension.to_str()),
            ) else {
                continue;
            };
            let record = match serde_json::from_slice(&std::fs::read(&path)?) {
                Ok(record) => Ok(record),
                Err(source) => Err(set_aside(module.clone(), &path, source)?),
            };
            records.push((module, record));
        }
        records.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(records)
    }

    /// Keeps a record. When this returns, it is on disk for good. Blocks.
    pub(crate) fn write(&self, module: &ModuleName, record: &Record) -> io::Result<()> {
        let content = serde_json::to_vec(record)?;
        folder::write(&self.folder.join(format!("{module}.json")), &content)
    }
}

fn set_aside(module: ModuleName, path: &Path, source: serde_json::Error) -> io::Result<Damaged> {
    let aside = path.with_extension("damaged");
    std::fs::rename(path, &aside)?;
    Ok(Damaged {
        module,
        aside,
        source,
    })
}

#[cfg(test)]
mod tests {
    use hotswap_protocol::{Settle, Stage};

    use super::*;

    fn version(number: usize) -> Version {
        Version {
            version: format!("{number}.0.0"),
            digest: format!("sha256:{number:064}"),
        }
    }

    #[test]
    fn remembers_the_latest_operations_and_versions() {
        let settle = Action::Settle(Settle {});
        let mut record = Record::default();
        for number in 0..OPERATIONS + 2 {
            let slots = Slots {
                active: Some(version(number)),
                ..Slots::default()
            };
            record = record.done(&format!("o-{number}"), &settle, 7, slots);
        }
        assert_eq!(record.knows("o-1", &settle), Known::New, "forgotten");
        assert_eq!(record.knows("o-2", &settle), Known::Done);
        let other = Action::Stage(Stage {
            version: version(1),
        });
        assert_eq!(record.knows("o-2", &other), Known::Different);
        let mut kept: Vec<_> = record.kept().map(|v| v.version.clone()).collect();
        kept.dedup();
        assert_eq!(kept.first().unwrap(), "252.0.0");
        assert_eq!(kept.last().unwrap(), "257.0.0");
    }

    #[test]
    fn a_damaged_record_is_set_aside_and_the_others_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::new(folder.path().join("modules")).unwrap();
        let (good, bad) = ("good".parse().unwrap(), "bad".parse().unwrap());
        let record = Record {
            fence: 7,
            ..Record::default()
        };
        records.write(&good, &record).unwrap();
        std::fs::write(folder.path().join("modules/bad.json"), b"{\"slo").unwrap();
        let read = records.read().unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].0, bad);
        let damage = read[0].1.as_ref().unwrap_err().to_string();
        assert!(damage.contains("bad.damaged"), "{damage}");
        assert_eq!(read[1].1.as_ref().unwrap(), &record);
        assert_eq!(records.read().unwrap().len(), 1, "set aside for good");
    }
}
