//! How two requests for deployments differ.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::Header;

/// Fields in which two requests always differ. They say nothing about what the requests ask for.
const IGNORED: [&str; 11] = [
    "id",
    "requester",
    "description",
    "metadata",
    "trace",
    "idempotency",
    "rollbackOf",
    "retryOf",
    "undoTo",
    "undoFrom",
    "supersedes",
];

/// Something that two requests ask for differently.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestDifference {
    /// Where in the request, such as `module.version` or `config.steps`.
    pub path: String,
    /// What the one asks for; `None` if it says nothing.
    pub before: Option<Value>,
    /// What the other asks for; `None` if it says nothing.
    pub after: Option<Value>,
}

impl RequestDifference {
    /// Where `after` asks for something else than `before`, sorted by path. Objects are compared
    /// key by key, everything else as a whole.
    ///
    /// # Errors
    /// Where JSON cannot hold one of them.
    pub fn between(before: &Header, after: &Header) -> Result<Vec<Self>, serde_json::Error> {
        let (mut before, mut after) = (serde_json::to_value(before)?, serde_json::to_value(after)?);
        for header in [&mut before, &mut after] {
            if let Some(header) = header.as_object_mut() {
                header.retain(|key, _| !IGNORED.contains(&key.as_str()));
            }
        }
        let mut differences = Vec::new();
        compare("", Some(&before), Some(&after), &mut differences);
        Ok(differences)
    }
}

fn compare(
    path: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    differences: &mut Vec<RequestDifference>,
) {
    if before == after {
        return;
    }
    let empty = Map::new();
    let object = |value: Option<&Value>| match value {
        Some(Value::Object(object)) => Some(object.clone()),
        None => Some(empty.clone()),
        Some(_) => None,
    };
    let is_object = |value: Option<&Value>| matches!(value, Some(Value::Object(_)));
    if (is_object(before) || is_object(after))
        && let (Some(one), Some(other)) = (object(before), object(after))
    {
        let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
        for key in keys {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            compare(&path, one.get(key), other.get(key), differences);
        }
        return;
    }
    differences.push(RequestDifference {
        path: path.to_owned(),
        before: before.cloned(),
        after: after.cloned(),
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::deployment::tests::header;

    #[test]
    fn requests_are_compared_key_by_key_and_only_in_what_they_ask_for() {
        let mut before = header();
        before.config = json!({ "steps": [10, 50], "soak": "5m", "probe": { "path": "/live" } });
        let mut after = before.clone();
        assert_eq!(RequestDifference::between(&before, &after).unwrap(), []);
        after.id = crate::DeploymentId::from_bytes([8; 16]);
        after.description = Some("again".into());
        after.retry_of = Some(before.id);
        assert_eq!(RequestDifference::between(&before, &after).unwrap(), []);
        after.config =
            json!({ "steps": [10], "soak": "5m", "probe": { "path": "/live", "port": 8 } });
        after.module.version = "2.1.0".parse().unwrap();
        after.policy.deadline *= 2;
        let found = RequestDifference::between(&before, &after).unwrap();
        let paths: Vec<_> = found.iter().map(|one| one.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "config.probe.port",
                "config.steps",
                "module.version",
                "policy.deadline"
            ]
        );
        assert_eq!(
            (&found[0].before, &found[0].after),
            (&None, &Some(json!(8)))
        );
        assert_eq!(found[1].before, Some(json!([10, 50])));
    }
}
