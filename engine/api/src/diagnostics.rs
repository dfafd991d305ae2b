//! Diagnostics of the engine, for a report of a fault.

pub use hotswap_common::RecentLog;
use serde_json::Value;

/// The diagnostics of an engine, for admins.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    /// The configuration in effect, without secrets.
    pub configuration: Value,
    /// The last lines of its log.
    pub log: RecentLog,
}
