//! The answers of metric providers.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The answers to one query of a soak at one reading.
///
/// Nobody knows what is behind such a number: see [`Judge::observe_queries`](crate::Judge).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryReading {
    /// The name of the query in the deployment's configuration.
    pub query: String,
    /// When it was asked, by the engine's clock.
    pub at: Timestamp,
    /// The answer for the new version. `None` if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<f64>,
    /// The answer for the previous version, where the query tells versions apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// Why an answer is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
