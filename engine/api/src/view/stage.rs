use hotswap_core as core;
use poem_openapi::Object;

/// A stage that the strategy reported.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct Stage {
    /// The name of the stage.
    pub name: String,
    /// When the stage began.
    pub started_at: u64,
    /// When the next stage began, or the strategy ended.
    pub ended_at: Option<u64>,
}

impl From<core::Stage> for Stage {
    fn from(stage: core::Stage) -> Self {
        Self {
            name: stage.name,
            started_at: stage.started_at.millis(),
            ended_at: stage.ended_at.map(core::Timestamp::millis),
        }
    }
}
