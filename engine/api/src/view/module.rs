use hotswap_store::ModuleRecord;
use poem_openapi::Object;
use poem_openapi::types::Example;

/// All modules, sorted by name.
#[derive(Debug, Clone, Object)]
pub(crate) struct Modules {
    /// They.
    pub modules: Vec<Module>,
}

/// A module, and the versions of it that were uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(crate) struct Module {
    /// Its name.
    pub name: String,
    /// Its versions, newest first.
    pub versions: Vec<ModuleVersion>,
}

/// One version of a module; it never changes.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct ModuleVersion {
    /// The module.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// The SHA-256 of its artifact.
    pub digest: String,
    /// The size of its artifact, in bytes.
    pub size: u64,
    /// When it was uploaded.
    pub uploaded_at: u64,
    /// By whom.
    pub uploaded_by: String,
}

impl Modules {
    /// Of records that are sorted by name.
    pub fn of(records: Vec<ModuleRecord>) -> Self {
        let mut modules: Vec<Module> = Vec::new();
        for record in records {
            let version = ModuleVersion::from(record);
            match modules.last_mut().filter(|last| last.name == version.name) {
                Some(module) => module.versions.push(version),
                None => modules.push(Module {
                    name: version.name.clone(),
                    versions: vec![version],
                }),
            }
        }
        Self { modules }
    }
}

impl From<ModuleRecord> for ModuleVersion {
    fn from(record: ModuleRecord) -> Self {
        Self {
            name: record.module.name.into(),
            version: record.module.version.to_string(),
            digest: record.module.digest.into(),
            size: record.size,
            uploaded_at: record.uploaded_at.millis(),
            uploaded_by: record.uploaded_by,
        }
    }
}

impl Example for ModuleVersion {
    fn example() -> Self {
        Self {
            name: "checkout".to_owned(),
            version: "1.4.2".to_owned(),
            digest: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
                .to_owned(),
            size: 184_320,
            uploaded_at: 1_770_000_000_000,
            uploaded_by: "api-token".to_owned(),
        }
    }
}
