//! What a report of a fault needs to know of the engine itself.

mod recent_log;

use serde_json::Value;

pub use recent_log::RecentLog;

/// What an engine tells of itself to admins.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    /// The configuration in effect, without secrets.
    pub configuration: Value,
    /// The last lines of its log.
    pub log: RecentLog,
}
