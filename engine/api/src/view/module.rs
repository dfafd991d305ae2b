use hotswap_store::ModuleRecord;
use poem_openapi::Object;
use poem_openapi::types::Example;

/// All modules, sorted by name.
#[derive(Debug, Clone, Object)]
pub(crate) struct Modules {
    /// The modules.
    pub modules: Vec<Module>,
}

/// A module with its uploaded versions.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(crate) struct Module {
    /// The name of the module.
    pub name: String,
    /// The versions, highest first.
    pub versions: Vec<ModuleVersion>,
}

/// A version of a module. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct ModuleVersion {
    /// The name of the module.
    pub name: String,
    /// The semantic version.
    pub version: String,
    /// The SHA-256 digest of the artifact.
    pub digest: String,
    /// The size of the artifact, in bytes.
    pub size: u64,
    /// When the version was uploaded.
    pub uploaded_at: u64,
    /// Who uploaded it: the subject of the token.
    pub uploaded_by: String,
}

impl Modules {
    /// Groups records by module. They must be sorted by name.
    pub fn new(records: Vec<ModuleRecord>) -> Self {
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
