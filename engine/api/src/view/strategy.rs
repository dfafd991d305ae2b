use hotswap_store::StrategyRecord;
use poem_openapi::Object;

/// All strategies, sorted by name.
#[derive(Debug, Clone, Object)]
pub(crate) struct Strategies {
    /// They.
    pub strategies: Vec<StrategySummary>,
}

/// A strategy in short.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct StrategySummary {
    /// How deployments name it.
    pub name: String,
    /// The version that it says of itself.
    pub version: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// The SHA-256 of its component.
    pub digest: String,
    /// The version of `hotswap:strategy` that it was built for.
    pub contract: String,
    /// Whether it came with the engine: such a one cannot be replaced or deleted.
    pub built_in: bool,
    /// When it was uploaded.
    pub uploaded_at: u64,
    /// By whom.
    pub uploaded_by: String,
}

/// A strategy.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct Strategy {
    #[oai(flatten)]
    pub summary: StrategySummary,
    /// What its configuration looks like: a JSON Schema (2020-12), with defaults.
    pub config_schema: serde_json::Value,
}

impl From<StrategyRecord> for StrategySummary {
    fn from(record: StrategyRecord) -> Self {
        Self {
            name: record.name.into(),
            version: record.version,
            summary: record.summary,
            digest: record.digest.into(),
            contract: record.wit.to_string(),
            built_in: record.built_in,
            uploaded_at: record.uploaded_at.millis(),
            uploaded_by: record.uploaded_by,
        }
    }
}

impl From<StrategyRecord> for Strategy {
    fn from(mut record: StrategyRecord) -> Self {
        let config_schema = record.config_schema.take();
        Self {
            summary: record.into(),
            config_schema,
        }
    }
}
