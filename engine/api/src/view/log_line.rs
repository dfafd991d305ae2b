use hotswap_core as core;
use poem_openapi::{Enum, Object};

/// A line that the strategy logged.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(crate) struct LogLine {
    /// When the line was logged.
    pub at: u64,
    /// The level of the line.
    pub level: Level,
    /// The text of the line.
    pub message: String,
}

/// The level of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase", remote = "core::Level")]
pub(crate) enum Level {
    /// Information for the strategy's author.
    Debug,
    /// Information for people who watch the deployment.
    Info,
    /// A warning.
    Warn,
    /// An error.
    Error,
}

impl From<core::LogLine> for LogLine {
    fn from(line: core::LogLine) -> Self {
        Self {
            at: line.at.millis(),
            level: line.level.into(),
            message: line.message,
        }
    }
}
