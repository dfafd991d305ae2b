use poem_openapi::Object;
use serde_json::Value;

use crate::diagnostics::Diagnostics;

/// The diagnostics of an engine, for a report of a fault.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct DebugReport {
    /// The engine's version.
    pub version: String,
    /// The configuration in effect, without secrets.
    pub configuration: Value,
    /// The last entries of the engine's log, oldest first: as many as fit into 1 MiB, 2000 at most.
    pub log: Vec<String>,
    /// How many older entries were dropped.
    pub dropped_log_entries: u64,
}

impl From<&Diagnostics> for DebugReport {
    fn from(diagnostics: &Diagnostics) -> Self {
        let (log, dropped_log_entries) = diagnostics.log.read();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            configuration: diagnostics.configuration.clone(),
            log,
            dropped_log_entries,
        }
    }
}
