use serde_json::{Value, json};

use super::{ConfigSchema, SchemaError};

/// As the SDK makes it: two settings, and an object of two more.
fn canary() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "soak": { "description": "How long.", "type": "string", "pattern": "^[0-9]+s$", "default": "60s" },
            "steps": {
                "description": "Shares.", "default": [10, 100], "type": "array",
                "items": { "type": "integer", "maximum": 100 }
            },
            "probe": {
                "description": "What to ask.", "type": "object", "additionalProperties": false,
                "default": { "path": "/" },
                "properties": {
                    "path": { "description": "Where.", "type": "string", "default": "/" },
                    "status": { "description": "What.", "type": "integer", "default": 200 }
                }
            }
        }
    })
}

fn parse(schema: &Value) -> Result<ConfigSchema, String> {
    ConfigSchema::parse(&schema.to_string()).map_err(|error| error.to_string())
}

#[test]
fn what_is_left_out_is_filled_in_from_the_outside_to_the_inside() {
    let schema = parse(&canary()).unwrap();
    let all = json!({
        "soak": "60s", "steps": [10, 100], "probe": { "path": "/", "status": 200 }
    });
    assert_eq!(schema.configure(None).unwrap(), all);
    assert_eq!(schema.configure(Some(Value::Null)).unwrap(), all);
    let given = json!({ "soak": "5s", "probe": { "status": 204 } });
    assert_eq!(
        schema.configure(Some(given)).unwrap(),
        json!({ "soak": "5s", "steps": [10, 100], "probe": { "path": "/", "status": 204 } })
    );
}

#[test]
fn an_error_names_every_place() {
    let schema = parse(&canary()).unwrap();
    let given = json!({
        "soak": 5, "steps": [10, 101], "probe": { "paht": "/", "status": "ok" }, "wait": 1
    });
    let error = schema.configure(Some(given)).unwrap_err();
    let mut places: Vec<_> = error
        .problems()
        .iter()
        .map(|problem| problem.pointer.as_str())
        .collect();
    places.sort_unstable();
    assert_eq!(places, ["", "/probe", "/probe/status", "/soak", "/steps/1"]);
    let text = error.to_string();
    for part in [
        "/soak: 5 is not of type \"string\"",
        "/steps/1: 101 is greater than the maximum of 100",
        "/probe: there is no paht here; there is path, status",
        "there is no wait here; there is probe, soak, steps",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn many_problems_and_long_values_make_no_long_error() {
    let schema = parse(&canary()).unwrap();
    let given = json!({ "soak": "x".repeat(1_000_000), "steps": vec![101; 1000] });
    let error = schema.configure(Some(given)).unwrap_err().to_string();
    assert!(error.len() < 12_000, "{}", error.len());
    assert!(error.ends_with("; and 981 more"), "{error}");
    let error = schema.configure(Some(json!("fast"))).unwrap_err();
    assert_eq!(error.to_string(), "\"fast\" is not of type \"object\"");
}

#[test]
fn references_within_the_document_are_followed() {
    let schema = parse(&json!({
        "type": "object",
        "properties": { "probe": { "$ref": "#/$defs/Probe", "default": {} } },
        "$defs": { "Probe": {
            "description": "What to ask.", "type": "object",
            "properties": { "path": { "description": "Where.", "default": "/" } }
        } }
    }))
    .unwrap();
    assert_eq!(
        schema.configure(None).unwrap(),
        json!({ "probe": { "path": "/" } })
    );
}

#[test]
fn a_schema_that_leaves_people_guessing_is_refused() {
    let with = |name: &str, property: Value| {
        let mut schema = canary();
        schema["properties"][name] = property;
        schema
    };
    let nested = |property: Value| {
        let mut schema = canary();
        schema["properties"]["probe"]["properties"]["body"] = property;
        schema
    };
    let itself = json!({
        "type": "object",
        "properties": { "a": { "$ref": "#", "description": "A.", "default": {} } }
    });
    for (schema, reason) in [
        (json!([]), "it is not a JSON Schema of 2020-12"),
        (json!(true), "its type must be \"object\""),
        (json!({ "type": "string" }), "its type must be \"object\""),
        (json!({ "type": 5 }), "it is not a JSON Schema of 2020-12"),
        (
            json!({ "$schema": "http://json-schema.org/draft-07/schema#", "type": "object" }),
            "its $schema is \"http://json-schema.org/draft-07/schema#\"",
        ),
        (
            with("wait", json!({ "description": "W.", "type": "string" })),
            "the property /wait has no default",
        ),
        (
            with("wait", json!({ "default": 1, "description": " " })),
            "the property /wait has no description",
        ),
        (
            nested(json!({ "description": "B." })),
            "the property /probe/body has no default",
        ),
        (
            with(
                "wait",
                json!({ "default": "x", "description": "W.", "type": "integer" }),
            ),
            "its own defaults do not fit it: /wait: \"x\" is not of type \"integer\"",
        ),
        (
            with(
                "wait",
                json!({ "default": "x", "description": "W.", "pattern": "(a" }),
            ),
            "it is not a JSON Schema of 2020-12",
        ),
        (
            with(
                "wait",
                json!({ "default": 1, "description": "W.", "$ref": "https://example.com/x" }),
            ),
            "it is not a JSON Schema of 2020-12",
        ),
        (itself, "its objects are nested more than 32 deep at /a/a"),
    ] {
        let error = parse(&schema).err().unwrap_or_default();
        assert!(error.starts_with(reason), "{error:?} for {schema}");
    }
    assert!(matches!(
        ConfigSchema::parse("{"),
        Err(SchemaError::Json(_))
    ));
    let large = format!("{}{{}}", " ".repeat(super::LARGEST));
    assert!(matches!(
        ConfigSchema::parse(&large),
        Err(SchemaError::TooLarge(_))
    ));
}

#[test]
fn a_property_that_must_be_set_where_its_object_is_needs_no_default() {
    let mut schema = canary();
    schema["properties"]["probe"]["required"] = json!(["body"]);
    schema["properties"]["probe"]["properties"]["body"] = json!({ "description": "B." });
    schema["properties"]["probe"]["default"] = json!({ "body": "ok" });
    let schema = parse(&schema).unwrap();
    let error = schema.configure(Some(json!({ "probe": {} }))).unwrap_err();
    assert_eq!(error.to_string(), "/probe: \"body\" is a required property");
}

#[test]
fn a_wrong_choice_is_told_the_right_ones() {
    let mut schema = canary();
    schema["properties"]["by"] = json!({
        "description": "By what.", "default": "nodes",
        "oneOf": [
            { "const": "nodes", "description": "Nodes." },
            { "const": "requests", "description": "Requests." }
        ]
    });
    schema["properties"]["batch"] = json!({
        "description": "How many.", "default": 2,
        "anyOf": [{ "type": "integer" }, { "type": "string", "pattern": "^[0-9]+%$" }]
    });
    let schema = parse(&schema).unwrap();
    let error = |given: Value| schema.configure(Some(given)).unwrap_err().to_string();
    assert_eq!(
        error(json!({ "by": "node" })),
        "/by: \"node\" is none of: \"nodes\", \"requests\""
    );
    assert_eq!(
        error(json!({ "batch": "many" })),
        "/batch: \"many\" is none of: of type integer, text like ^[0-9]+%$"
    );
}
