//! Diagnostics of the engine, for a report of a fault.

mod recent_log;

use serde_json::Value;

pub use recent_log::RecentLog;

/// The diagnostics of an engine, for admins.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    /// The configuration in effect, without secrets.
    pub configuration: Value,
    /// The last lines of its log.
    pub log: RecentLog,
}
