use hotswap_store::{BackendRecord, BackendSecret};
use poem_openapi::Object;

/// The discovery backends that were uploaded, sorted by name.
#[derive(Debug, Clone, Object)]
pub(crate) struct Backends {
    /// The backends.
    pub backends: Vec<Backend>,
}

/// A discovery backend that was uploaded.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct Backend {
    /// The name that sources can use.
    pub name: String,
    /// The version that the backend declares.
    pub version: String,
    /// Which registry it is for, in one sentence.
    pub summary: String,
    /// The SHA-256 digest of the component, which sources can use instead of the name.
    pub digest: String,
    /// The version of the contract `hotswap:discovery` that the backend was built for.
    pub contract: String,
    /// Whether instances can be registered through it.
    pub can_register: bool,
    /// The secrets that it can be given. Review them before you configure one.
    pub secrets: Vec<BackendSecretPlace>,
    /// The JSON Schema (2020-12) of its settings, with defaults.
    pub config_schema: serde_json::Value,
    /// When it was uploaded.
    pub uploaded_at: u64,
    /// Who uploaded it: the subject of the token.
    pub uploaded_by: String,
}

/// A secret of a discovery backend, which the engine puts into requests. The backend never sees it.
#[derive(Debug, Clone, Object)]
pub(crate) struct BackendSecretPlace {
    /// Its name in the configuration.
    pub name: String,
    /// What it is, in one sentence.
    pub summary: String,
    /// Where the engine puts it: into a header, such as `header authorization`, or into the bodies of
    /// requests to one path, such as `bodies to /login`.
    pub place: String,
}

impl From<BackendRecord> for Backend {
    fn from(record: BackendRecord) -> Self {
        Self {
            name: record.name.into(),
            version: record.version,
            summary: record.summary,
            digest: record.digest.into(),
            contract: record.wit.to_string(),
            can_register: record.can_register,
            secrets: record.secrets.into_iter().map(Into::into).collect(),
            config_schema: record.config_schema,
            uploaded_at: record.uploaded_at.millis(),
            uploaded_by: record.uploaded_by,
        }
    }
}

impl From<BackendSecret> for BackendSecretPlace {
    fn from(secret: BackendSecret) -> Self {
        Self {
            name: secret.name,
            summary: secret.summary,
            place: secret.place,
        }
    }
}
