use hotswap_store::StrategyRecord;
use poem_openapi::Object;

/// All strategies, sorted by name.
#[derive(Debug, Clone, Object)]
pub(crate) struct Strategies {
    /// The strategies.
    pub strategies: Vec<StrategySummary>,
}

/// A summary of a strategy.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct StrategySummary {
    /// The name that deployments use.
    pub name: String,
    /// The version that the strategy declares.
    pub version: String,
    /// What the strategy does, in one sentence.
    pub summary: String,
    /// The SHA-256 digest of the component.
    pub digest: String,
    /// The version of the contract `hotswap:strategy` that the strategy was built for.
    pub contract: String,
    /// Whether the strategy is built into the engine. Built-in strategies cannot be replaced
    /// or deleted.
    pub built_in: bool,
    /// When the strategy was uploaded.
    pub uploaded_at: u64,
    /// Who uploaded it: the subject of the token.
    pub uploaded_by: String,
}

/// A strategy with the schema of its configuration.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct Strategy {
    #[oai(flatten)]
    pub summary: StrategySummary,
    /// The JSON Schema (2020-12) of the configuration, with defaults.
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
