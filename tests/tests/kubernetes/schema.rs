//! What `values.schema.json` refuses.

use hotswap_tests::read_yaml;
use serde_json::Value;

use crate::renderer::{VERSIONS, read, render};

/// Objects whose keys are others': of Kubernetes, or names that users choose.
const OPEN: &[&str] = &[
    "commonLabels",
    "commonAnnotations",
    "annotations",
    "labels",
    "resources",
    "startupProbe",
    "livenessProbe",
    "readinessProbe",
    "podSecurityContext",
    "securityContext",
    "podAnnotations",
    "podLabels",
    "nodeSelector",
    "affinity",
    "emptyDir",
    "behavior",
    "updateStrategy",
    "alertLabels",
    "nodeGroups",
    "global",
];

/// Visits every object and every value below `value`, with its path.
fn visit(path: &str, value: &Value, visitor: &mut impl FnMut(&str, &Value)) {
    visitor(path, value);
    if let Value::Object(members) = value {
        for (key, member) in members {
            let path = match path {
                "" => key.clone(),
                _ => format!("{path}.{key}"),
            };
            if !OPEN.contains(&key.as_str()) {
                visit(&path, member, visitor);
            }
        }
    }
}

#[test]
fn unknown_keys_and_wrong_types_are_refused_everywhere() {
    let values = read_yaml(&read("values.yaml")).unwrap().remove(0);
    let mut wrong = Vec::new();
    visit("", &values, &mut |path, value| match value {
        Value::Object(_) if path.is_empty() => wrong.push("unknownKey=1".to_owned()),
        Value::Object(_) => wrong.push(format!("{path}.unknownKey=1")),
        Value::Array(_) => wrong.push(format!("{path}=\"text\"")),
        Value::String(_) => wrong.push(format!("{path}=[]")),
        Value::Bool(_) | Value::Null => wrong.push(format!("{path}=\"text\"")),
        Value::Number(_) => wrong.push(format!("{path}=\"text\"")),
    });
    wrong.extend(
        [
            "image.digest=\"sha256:abc\"",
            "auth.apiToken=\"short\"",
            "node.kind=\"ReplicaSet\"",
            "engine.service.port=0",
            "engine.persistence.size=\"big\"",
            "nodeGroups={\"UPPER\":{\"environment\":\"qa\"}}",
            "nodeGroups.nodes.unknownKey=1",
            "nodeGroups.nodes.replicaCount=\"3\"",
            // Helm would write it as 1.23456789012e+11.
            "nodeGroups.nodes.labels={\"account\":123456789012}",
            "listenAddress=\"10.0.0.1\"",
            "discovery.mode=\"consul\"",
            "node.podDisruptionBudget.minAvailable=\"half\"",
        ]
        .map(str::to_owned),
    );
    assert!(wrong.len() > 150, "only {} cases", wrong.len());
    // Each starts Helm, which takes a tenth of a second.
    let chunks = wrong.chunks(wrong.len().div_ceil(4));
    std::thread::scope(|scope| {
        for chunk in chunks {
            scope.spawn(move || {
                for setting in chunk {
                    let rendered = render(VERSIONS[2], &["--set-json", setting]).unwrap();
                    let error = rendered.expect_err(setting);
                    assert!(error.contains("schema"), "{setting}: {error}");
                }
            });
        }
    });
}
