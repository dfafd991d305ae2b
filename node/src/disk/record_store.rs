use std::io;
use std::path::{Path, PathBuf};

use hotswap_common::file;
use hotswap_core::ModuleName;

use super::ModuleRecord;

/// The ending of the name of a damaged record.
const DAMAGED: &str = "damaged";

/// The ending of the name of a damaged record whose module has got versions again.
const MENDED: &str = "mended";

/// The records of all modules, one file each.
#[derive(Debug, Clone)]
pub(crate) struct RecordStore {
    folder: PathBuf,
}

/// A record that cannot be parsed. Its file was renamed, and does not affect the other
/// records.
#[derive(Debug, thiserror::Error)]
#[error("the record of module {module} is damaged and was moved to {}", moved_to.display())]
pub(crate) struct DamagedRecord {
    pub(crate) module: ModuleName,
    moved_to: PathBuf,
    #[source]
    source: serde_json::Error,
}

impl RecordStore {
    /// Opens the store in `folder`, which is created if absent.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        file::create_private_folder(&folder)?;
        file::remove_temporary_files(&folder)?;
        Ok(Self { folder })
    }

    /// Reads all records, sorted by module.
    ///
    /// # Errors
    /// If the folder or a file cannot be read.
    pub(crate) fn load_all(
        &self,
    ) -> io::Result<Vec<(ModuleName, Result<ModuleRecord, DamagedRecord>)>> {
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
                Err(source) => Err(move_damaged_file(module.clone(), &path, source)?),
            };
            records.push((module, record));
        }
        records.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(records)
    }

    /// The modules whose record was moved away as damaged, now or at an earlier start, and that
    /// have not been [mended](Self::mend) since. Call it after [`Self::load_all`].
    pub(crate) fn load_damaged(&self) -> io::Result<Vec<ModuleName>> {
        let mut damaged = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let is_damaged = path.extension().is_some_and(|ending| ending == DAMAGED);
            let module = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            damaged.extend(module.filter(|_| is_damaged));
        }
        Ok(damaged)
    }

    /// Records that a module has got versions again after its record was damaged. Keeps the
    /// damaged file under another name. Blocks.
    pub(crate) fn mend(&self, module: &ModuleName) -> io::Result<()> {
        let damaged = self.folder.join(format!("{module}.{DAMAGED}"));
        match std::fs::rename(&damaged, damaged.with_extension(MENDED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => file::sync_folder(&self.folder),
        }
    }

    /// Saves a record. It is durable when this returns. Blocks.
    pub(crate) fn save(&self, module: &ModuleName, record: &ModuleRecord) -> io::Result<()> {
        let content = serde_json::to_vec(record)?;
        file::write_atomic(&self.folder.join(format!("{module}.json")), &content)
    }
}

fn move_damaged_file(
    module: ModuleName,
    path: &Path,
    source: serde_json::Error,
) -> io::Result<DamagedRecord> {
    let moved_to = path.with_extension(DAMAGED);
    std::fs::rename(path, &moved_to)?;
    Ok(DamagedRecord {
        module,
        moved_to,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_record_is_moved_and_the_others_are_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let store = RecordStore::open(folder.path().join("modules")).unwrap();
        let (good, bad) = ("good".parse().unwrap(), "bad".parse().unwrap());
        let record = ModuleRecord::default().with_fence(7);
        store.save(&good, &record).unwrap();
        std::fs::write(folder.path().join("modules/bad.json"), b"{\"slo").unwrap();
        let loaded = store.load_all().unwrap();
        assert_eq!(loaded.len(), 2);
        assert_eq!(loaded[0].0, bad);
        let error = loaded[0].1.as_ref().unwrap_err().to_string();
        assert!(error.contains("bad.damaged"), "{error}");
        assert_eq!(loaded[1].1.as_ref().unwrap(), &record);
        assert_eq!(store.load_all().unwrap().len(), 1, "moved for good");
        assert_eq!(
            store.load_damaged().unwrap(),
            std::slice::from_ref(&bad),
            "and not forgotten"
        );
        for _ in 0..2 {
            store.mend(&bad).unwrap();
            assert!(store.load_damaged().unwrap().is_empty());
        }
    }
}
