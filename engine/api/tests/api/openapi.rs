//! The OpenAPI document.

use std::collections::BTreeSet;

use serde_json::Value;

fn document() -> Value {
    serde_json::from_str(&hotswap_api::openapi()).unwrap()
}

fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, operations)| {
        let operations = operations.as_object().unwrap();
        operations
            .iter()
            .map(|(method, operation)| (method.to_uppercase(), path.clone(), operation))
    });
    operations.collect()
}

#[test]
fn the_document_is_the_same_each_time() {
    assert_eq!(hotswap_api::openapi(), hotswap_api::openapi());
    assert!(hotswap_api::openapi().ends_with("}\n"));
}

#[test]
fn the_document_lists_every_operation() {
    let document = document();
    let listed: Vec<_> = operations(&document)
        .iter()
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    let mut expected = vec![
        "GET /health/live",
        "GET /health/ready",
        "GET /metrics",
        "PUT /api/v1/modules/{name}/versions/{version}",
        "GET /api/v1/modules",
        "GET /api/v1/modules/{name}",
        "GET /api/v1/modules/{name}/versions/{version}",
        "POST /api/v1/deployments",
        "POST /api/v1/deployments/plan",
        "GET /api/v1/deployments",
        "GET /api/v1/deployments/{id}",
        "GET /api/v1/deployments/{id}/events",
        "GET /api/v1/deployments/{id}/events/socket",
        "GET /api/v1/events",
        "GET /api/v1/events/socket",
        "POST /api/v1/deployments/{id}/abort",
        "POST /api/v1/deployments/{id}/terminate",
        "POST /api/v1/deployments/{id}/pause",
        "POST /api/v1/deployments/{id}/resume",
        "POST /api/v1/deployments/{id}/rollback",
        "POST /api/v1/deployments/{id}/promote",
        "POST /api/v1/deployments/{id}/retry",
        "GET /api/v1/deployments/{id}/diff",
        "GET /api/v1/clusters/{environment}/modules/{name}/history",
        "POST /api/v1/clusters/{environment}/modules/{name}/undo",
        "POST /api/v1/deployments/{id}/approval",
        "GET /api/v1/strategies",
        "GET /api/v1/strategies/{name}",
        "POST /api/v1/strategies",
        "DELETE /api/v1/strategies/{name}",
        "GET /api/v1/backends",
        "GET /api/v1/backends/{name}",
        "POST /api/v1/backends",
        "DELETE /api/v1/backends/{name}",
        "DELETE /api/v1/clusters/{environment}/modules/{name}",
        "GET /api/v1/clusters",
        "GET /api/v1/clusters/{environment}",
        "GET /api/v1/clusters/{environment}/events",
        "GET /api/v1/environments/{name}",
        "PUT /api/v1/environments/{name}",
        "DELETE /api/v1/environments/{name}",
        "GET /api/v1/nodes",
        "GET /api/v1/nodes/{id}",
        "GET /api/v1/nodes/{id}/debug",
        "DELETE /api/v1/nodes/{id}",
        "PUT /api/v1/nodes/{id}",
        "POST /api/v1/nodes/{id}/cordon",
        "POST /api/v1/nodes/{id}/drain",
        "POST /api/v1/nodes/{id}/heartbeat",
        "POST /api/v1/nodes/{id}/uncordon",
        "GET /api/v1/discovery",
        "GET /api/v1/discovery/{name}",
        "POST /api/v1/discovery/{name}/refresh",
        "GET /api/v1/artifacts/{digest}",
        "DELETE /api/v1/deployments/{id}",
        "DELETE /api/v1/modules/{name}/versions/{version}",
        "GET /api/v1/store/usage",
        "GET /api/v1/debug",
    ];
    let mut listed: Vec<_> = listed.iter().map(String::as_str).collect();
    listed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(listed, expected);
}

#[test]
fn every_operation_is_described() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let what = format!("{method} {path}");
        for field in ["summary", "description", "operationId"] {
            let text = operation[field].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{what} has no {field}");
        }
        assert!(ids.insert(operation["operationId"].to_string()), "{what}");
        assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{what}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = &parameter["name"];
            assert!(parameter["description"].is_string(), "{what}: {name}");
            assert!(parameter["schema"].is_object(), "{what}: {name}");
        }
        let placeholders = path.matches('{').count();
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        assert_eq!(
            parameters.filter(|it| it["in"] == "path").count(),
            placeholders,
            "{what}"
        );
        let secured = operation["security"].is_array();
        assert_eq!(secured, path.starts_with("/api/v1/"), "{what}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(
            // A protocol switch is a success, too.
            responses
                .keys()
                .any(|status| status.starts_with('2') || status == "101"),
            "{what}"
        );
        for (status, response) in responses {
            let status: u16 = status.parse().unwrap();
            if status >= 400 {
                let content = &response["content"]["application/problem+json"];
                let schema = &content["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/Problem", "{what} {status}");
            }
        }
        if secured {
            for status in ["401", "403"] {
                assert!(responses.contains_key(status), "{what} {status}");
            }
        }
    }
}

#[test]
fn every_schema_and_field_is_described() {
    let document = document();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(
            schema["description"].is_string(),
            "{name} has no description"
        );
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            let described = property["description"].is_string()
                || property["allOf"][1]["description"].is_string();
            assert!(described, "{name}.{field} has no description: {property}");
        }
    }
}

#[test]
fn every_reference_resolves() {
    let document = document();
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    found.push(reference);
                }
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100, "{}", found.len());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    for scheme in ["apiToken", "nodeToken"] {
        let scheme = &document["components"]["securitySchemes"][scheme];
        assert_eq!(
            (&scheme["type"], &scheme["scheme"]),
            (&"http".into(), &"bearer".into())
        );
    }
}
