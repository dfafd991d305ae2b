//! Queries to other servers of metrics.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A query that the engine asks at each reading of a soak. A check judges its answer as
/// `query:NAME`.
///
/// The engine reads queries from the property `queries` of the deployment's configuration: a
/// strategy whose configuration has that property offers them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[schemars(description = "A query that the engine asks at each reading of a soak.")]
pub struct Query {
    /// The name that checks use: up to 40 lower-case letters, digits, `-` and `_`, of which the
    /// first is a letter.
    #[schemars(regex(pattern = "^([a-z][a-z0-9_-]{0,39})?$"))]
    pub name: String,
    /// The name of a provider in `metricProviders` of the engine's configuration.
    pub provider: String,
    /// PromQL with one number as its result, or the path of a JSON document. Where it contains
    /// `{{version}}`, `{{digest}}` or `{{nodes}}`, it is asked for the new version and for the
    /// previous one, and both can be compared. `{{module}}` is the name of the module.
    #[schemars(length(max = 4096))]
    pub query: String,
    /// A JSON pointer to the number in a JSON document, such as `/orders/rate`. Null for
    /// Prometheus.
    pub pointer: Option<String>,
}
