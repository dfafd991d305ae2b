//! What a report of a fault needs to know of the engine itself.

pub use hotswap_common::RecentLog;
use serde_json::Value;

/// What an engine tells of itself to admins.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    /// The configuration in effect, without secrets.
    pub configuration: Value,
    /// The last lines of its log.
    pub log: RecentLog,
}
