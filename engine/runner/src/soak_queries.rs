//! The queries of a deployment's configuration, and what is asked with them.

use std::collections::BTreeSet;

use hotswap_core::{Check, Judge, ModuleMetric, ModuleVersion, NodeId};
use serde::Deserialize;
use serde_json::Value;

use crate::metric_providers::MetricProviders;

/// Queries of one deployment. Each is asked at every reading, for both versions.
const MAX_QUERIES: usize = 8;
/// Bytes of a query.
const MAX_QUERY_BYTES: usize = 4096;

/// A query that checks name as `query:NAME`. A strategy that offers queries lists them in its
/// schema as `queries`: the contract has no place for them, and they are pinned with the request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SoakQuery {
    /// The name that checks use.
    pub(crate) name: String,
    /// The name of a provider of the engine's configuration.
    pub(crate) provider: String,
    /// PromQL, or a path.
    pub(crate) query: String,
    /// Where the number is in a JSON answer.
    #[serde(default)]
    pub(crate) pointer: Option<String>,
}

/// One version, as a query names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueriedVersion<'a> {
    pub(crate) version: &'a str,
    pub(crate) digest: &'a str,
    pub(crate) nodes: &'a [NodeId],
}

impl SoakQuery {
    /// Whether the query tells versions apart, so that both can be asked for.
    pub(crate) fn is_by_version(&self) -> bool {
        ["{{version}}", "{{digest}}", "{{nodes}}"]
            .iter()
            .any(|placeholder| self.query.contains(placeholder))
    }

    /// The query for one version.
    ///
    /// `{{nodes}}` becomes a regular expression that matches the ids of the nodes. All values are
    /// letters, digits, `-`, `_`, `.`, `+` and `:`, so none ends a text of PromQL.
    pub(crate) fn for_version(
        &self,
        module: &ModuleVersion,
        version: QueriedVersion<'_>,
    ) -> String {
        let mut query = self
            .query
            .replace("{{module}}", module.name.as_str())
            .replace("{{version}}", version.version)
            .replace("{{digest}}", version.digest);
        if query.contains("{{nodes}}") {
            let nodes: Vec<_> = version.nodes.iter().map(escape).collect();
            query = query.replace("{{nodes}}", &nodes.join("|"));
        }
        query
    }
}

fn escape(node: &NodeId) -> String {
    node.as_str().replace('.', "[.]")
}

/// The queries of a configuration. Empty if it has none, or none that can be read.
pub(crate) fn of_config(config: &Value) -> Vec<SoakQuery> {
    Vec::deserialize(&config["queries"]).unwrap_or_default()
}

/// The names of the queries that these checks judge, each once.
pub(crate) fn names(checks: &[Check]) -> BTreeSet<&str> {
    let names = checks.iter();
    let names = names.filter_map(|check| Judge::query_of(&check.metric));
    names.collect()
}

/// Checks the queries of a configuration.
///
/// # Errors
/// What is wrong with which of them, in one sentence.
pub(crate) fn check(config: &Value, providers: &MetricProviders) -> Result<(), String> {
    let value = &config["queries"];
    if value.is_null() {
        return Ok(());
    }
    let queries = Vec::<SoakQuery>::deserialize(value).map_err(|error| {
        format!("queries: {error}; each has name, provider and query, and perhaps pointer")
    })?;
    if queries.len() > MAX_QUERIES {
        return Err(format!(
            "queries: there are {}; at most {MAX_QUERIES} may be",
            queries.len()
        ));
    }
    let mut names = BTreeSet::new();
    for query in &queries {
        let SoakQuery { name, .. } = query;
        let shown: String = name.chars().take(80).collect();
        if !ModuleMetric::is_name(name) {
            return Err(format!(
                "queries: '{shown}' is no name: use up to 40 lower-case letters, digits, '-' and \
                 '_', of which the first is a letter"
            ));
        }
        if !names.insert(name) {
            return Err(format!("queries: there are two named '{shown}'"));
        }
        if query.query.len() > MAX_QUERY_BYTES {
            return Err(format!(
                "queries: {shown} has more than {MAX_QUERY_BYTES} bytes"
            ));
        }
        let pointer = query.pointer.as_deref();
        let checked = providers.check(&query.provider, &query.query, pointer);
        checked.map_err(|error| format!("queries: {shown}: {error}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn query(query: &str) -> SoakQuery {
        SoakQuery {
            name: "orders".to_owned(),
            provider: "prometheus".to_owned(),
            query: query.to_owned(),
            pointer: None,
        }
    }

    #[test]
    fn a_query_is_made_for_each_version() {
        let module = ModuleVersion {
            name: "hello".parse().unwrap(),
            version: "2.0.0".parse().unwrap(),
            digest: hotswap_core::Digest::of(b"2"),
        };
        let nodes: Vec<NodeId> = ["a.eu", "b"].map(|id| id.parse().unwrap()).to_vec();
        let version = QueriedVersion {
            version: "1.0.0",
            digest: "sha256:12",
            nodes: &nodes,
        };
        let made = query(r#"x{v="{{version}}",d="{{digest}}",m="{{module}}",n=~"{{nodes}}"}"#);
        let name = &module.name;
        assert_eq!(
            made.for_version(&module, version),
            format!(r#"x{{v="1.0.0",d="sha256:12",m="{name}",n=~"a[.]eu|b"}}"#)
        );
        assert!(made.is_by_version());
        assert!(!query("up{m=\"{{module}}\"}").is_by_version());
    }

    #[test]
    fn queries_are_checked_before_a_deployment_begins() {
        let none = MetricProviders::default();
        assert_eq!(check(&json!({}), &none), Ok(()));
        assert_eq!(check(&json!({ "queries": [] }), &none), Ok(()));
        let one = |name: &str| json!({ "name": name, "provider": "p", "query": "up" });
        for (queries, expected) in [
            (json!(3), "each has name, provider and query"),
            (json!([{ "name": "a" }]), "missing field"),
            (json!([one("Orders")]), "'Orders' is no name"),
            (
                json!([one("a")]),
                "there is no provider of metrics named 'p'",
            ),
            (json!(vec![one("a"); 9]), "at most 8"),
        ] {
            let error = check(&json!({ "queries": queries }), &none).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
