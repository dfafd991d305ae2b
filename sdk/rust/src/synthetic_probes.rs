//! Requests that nodes send themselves during a soak.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Requests that each node of a soak sends to its own versions, old and new alike, where clients
/// send too few. They count as requests of the versions, and findings say how many there were.
///
/// The engine reads them from the property `probes` of the deployment's configuration: a strategy
/// whose configuration has that property offers them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[schemars(description = "Requests that each node of a soak sends to its own versions.")]
pub struct SyntheticProbes {
    /// Path and query of each request, as the module sees it.
    #[schemars(length(min = 1, max = 2048), regex(pattern = "^/"))]
    pub path: String,
    /// How many each version gets on each node in a second.
    #[schemars(range(min = 0.01, max = 100.0))]
    pub rate_per_second: f64,
}

impl Default for SyntheticProbes {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            rate_per_second: 1.0,
        }
    }
}
