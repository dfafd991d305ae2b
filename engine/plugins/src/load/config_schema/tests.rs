use serde_json::{Value, json};

use super::{ConfigSchema, SchemaError};

/// A schema as the SDK generates it: two settings, and an object with two more.
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
fn absent_properties_get_defaults_outer_objects_first() {
    let schema = parse(&canary()).unwrap();
    let all = json!({
        "soak": "60s", "steps": [10, 100], "probe": { "path": "/", "status": 200 }
    });
    assert_eq!(schema.configure(None).unwrap(), all);
    assert_eq!(schema.configure(Some(Value::Null)).unwrap(), all);
    let config = json!({ "soak": "5s", "probe": { "status": 204 } });
    assert_eq!(
        schema.configure(Some(config)).unwrap(),
        json!({ "soak": "5s", "steps": [10, 100], "probe": { "path": "/", "status": 204 } })
    );
}

#[test]
fn error_lists_every_problem() {
    let schema = parse(&canary()).unwrap();
    let config = json!({
        "soak": 5, "steps": [10, 101], "probe": { "paht": "/", "status": "ok" }, "wait": 1
    });
    let error = schema.configure(Some(config)).unwrap_err();
    let mut pointers: Vec<_> = error
        .problems()
        .iter()
        .map(|problem| problem.pointer.as_str())
        .collect();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        ["", "/probe", "/probe/status", "/soak", "/steps/1"]
    );
    let text = error.to_string();
    for part in [
        "/soak: 5 is not of type \"string\"",
        "/steps/1: 101 is greater than the maximum of 100",
        "/probe: unknown property paht; known are path, status",
        "unknown property wait; known are probe, soak, steps",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn error_is_short_for_many_problems_and_long_values() {
    let schema = parse(&canary()).unwrap();
    let config = json!({ "soak": "x".repeat(1_000_000), "steps": vec![101; 1000] });
    let error = schema.configure(Some(config)).unwrap_err().to_string();
    assert!(error.len() < 12_000, "{}", error.len());
    assert!(error.ends_with("; and 981 more"), "{error}");
    let error = schema.configure(Some(json!("fast"))).unwrap_err();
    assert_eq!(error.to_string(), "\"fast\" is not of type \"object\"");
}

#[test]
fn references_within_the_document_are_resolved() {
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

/// Objects in each other, without a reference.
fn inline_objects(depth: usize) -> Value {
    (0..depth).fold(json!({ "type": "object" }), |inner, _| {
        let mut inner = inner;
        inner["description"] = json!("A.");
        inner["default"] = json!({});
        json!({ "type": "object", "properties": { "a": inner } })
    })
}

/// A schema with definitions that refer to each other.
fn with_definitions(definitions: impl IntoIterator<Item = (String, Value)>) -> Value {
    let definitions: serde_json::Map<_, _> = definitions.into_iter().collect();
    json!({ "type": "object", "allOf": [{ "$ref": "#/$defs/0" }], "$defs": definitions })
}

/// Each of these would overflow the stack, or not return before the engine is replaced.
#[test]
fn schema_that_is_endless_with_its_references_is_rejected() {
    let to = |index: usize| json!({ "$ref": format!("#/$defs/{index}") });
    let last = |index: usize| (index.to_string(), json!({}));
    let each = |depth: usize, schema: &dyn Fn(usize) -> Value| {
        let defs = (0..depth).map(|at| (at.to_string(), schema(at)));
        with_definitions(defs.chain([last(depth)]))
    };
    let chain = each(8000, &|at| to(at + 1));
    let doubled = each(40, &|at| json!({ "allOf": [to(at + 1), to(at + 1)] }));
    let doubled_properties = each(31, &|at| {
        let property =
            json!({ "$ref": format!("#/$defs/{}", at + 1), "description": "P.", "default": {} });
        json!({ "type": "object", "properties": { "a": property, "b": property } })
    });
    // Every array of a value doubles the work.
    let doubled_items = with_definitions([(
        "0".to_owned(),
        json!({ "properties": {}, "items": { "anyOf": [to(0), to(0)] } }),
    )]);
    let unevaluated = (0..20).fold(
        json!({}),
        |inner, _| json!({ "anyOf": [inner], "unevaluatedProperties": false }),
    );
    let unevaluated = with_definitions([("0".to_owned(), unevaluated)]);
    let nots = (0..100).fold(json!({}), |inner, _| json!({ "not": inner }));
    let nots = with_definitions([("0".to_owned(), nots)]);
    for (name, schema) in [
        ("chain", chain),
        ("doubled", doubled),
        ("doubled properties", doubled_properties),
        ("doubled items", doubled_items),
        ("unevaluated", unevaluated),
        ("nots", nots),
    ] {
        assert!(schema.to_string().len() < super::MAX_SCHEMA_BYTES, "{name}");
        let error = parse(&schema).err().unwrap_or_default();
        assert!(
            error.starts_with("with every $ref followed, the schema has more"),
            "{name}: {error:?}"
        );
    }
    for (keyword, reason) in [
        (json!({ "$dynamicRef": "#0" }), "the reference \"#0\" leads"),
        (
            json!({ "$ref": "#anchor" }),
            "the reference \"#anchor\" leads",
        ),
        (
            json!({ "$ref": "#/$defs/%30" }),
            "the reference \"#/$defs/%30\" leads",
        ),
        (
            json!({ "$id": "https://example.com/" }),
            "a subschema has $id or $schema",
        ),
    ] {
        let error = parse(&with_definitions([("0".to_owned(), keyword)]));
        let error = error.err().unwrap_or_default();
        assert!(error.starts_with(reason), "{error:?}");
    }
}

/// The deepest and the widest that is accepted fits the stack of a thread, and is soon checked.
#[test]
fn largest_schema_that_is_accepted_does_no_harm() {
    let to = |index: usize| json!({ "$ref": format!("#/$defs/{index}") });
    let each = |depth: usize, schema: &dyn Fn(usize) -> Value| {
        let defs = (0..depth).map(|at| (at.to_string(), schema(at)));
        with_definitions(defs.chain([(depth.to_string(), json!({}))]))
    };
    for schema in [
        each(60, &|at| to(at + 1)),
        each(20, &|at| json!({ "allOf": [{ "if": to(at + 1) }] })),
        each(
            6,
            &|at| json!({ "oneOf": [to(at + 1), { "not": to(at + 1) }] }),
        ),
        inline_objects(32),
    ] {
        let parsed = parse(&schema);
        let error = parsed.err().unwrap_or_default();
        // Defaults need not match, but that is found out.
        assert!(
            error.is_empty() || error.starts_with("the defaults do not match"),
            "{error:?}"
        );
    }
}

#[test]
fn unusable_schema_is_rejected() {
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
    let recursive = json!({
        "type": "object",
        "properties": { "a": { "$ref": "#", "description": "A.", "default": {} } }
    });
    for (schema, reason) in [
        (json!([]), "the schema is not a JSON Schema of 2020-12"),
        (json!(true), "the type of the schema must be \"object\""),
        (
            json!({ "type": "string" }),
            "the type of the schema must be \"object\"",
        ),
        (
            json!({ "type": 5 }),
            "the schema is not a JSON Schema of 2020-12",
        ),
        (
            json!({ "$schema": "http://json-schema.org/draft-07/schema#", "type": "object" }),
            "$schema is \"http://json-schema.org/draft-07/schema#\"",
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
            "the defaults do not match the schema: /wait: \"x\" is not of type \"integer\"",
        ),
        (
            with(
                "wait",
                json!({ "default": "x", "description": "W.", "pattern": "(a" }),
            ),
            "the schema is not a JSON Schema of 2020-12",
        ),
        (
            with(
                "wait",
                json!({ "default": 1, "description": "W.", "$ref": "https://example.com/x" }),
            ),
            "the reference \"https://example.com/x\" leads to no place in the schema",
        ),
        (recursive, "with every $ref followed, the schema has more"),
        (
            inline_objects(33),
            "objects are nested more than 32 levels deep at /a/a",
        ),
    ] {
        let error = parse(&schema).err().unwrap_or_default();
        assert!(error.starts_with(reason), "{error:?} for {schema}");
    }
    assert!(matches!(
        ConfigSchema::parse("{"),
        Err(SchemaError::Json(_))
    ));
    let large = format!("{}{{}}", " ".repeat(super::MAX_SCHEMA_BYTES));
    assert!(matches!(
        ConfigSchema::parse(&large),
        Err(SchemaError::TooLarge(_))
    ));
}

#[test]
fn required_property_of_a_nested_object_needs_no_default() {
    let mut schema = canary();
    schema["properties"]["probe"]["required"] = json!(["body"]);
    schema["properties"]["probe"]["properties"]["body"] = json!({ "description": "B." });
    schema["properties"]["probe"]["default"] = json!({ "body": "ok" });
    let schema = parse(&schema).unwrap();
    let error = schema.configure(Some(json!({ "probe": {} }))).unwrap_err();
    assert_eq!(error.to_string(), "/probe: \"body\" is a required property");
}

#[test]
fn error_lists_the_alternatives() {
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
    let error = |config: Value| schema.configure(Some(config)).unwrap_err().to_string();
    assert_eq!(
        error(json!({ "by": "node" })),
        "/by: \"node\" is none of the allowed values: \"nodes\", \"requests\""
    );
    assert_eq!(
        error(json!({ "batch": "many" })),
        "/batch: \"many\" is none of the allowed values: type integer, text that matches ^[0-9]+%$"
    );
}

/// As the SDK generates the schemas of integers, plain, optional, referred to and in a list.
fn integers() -> Value {
    let number = |format: &str| json!({ "description": "A number.", "type": "integer", "format": format, "default": 1 });
    json!({
        "type": "object",
        "properties": {
            "u8": number("uint8"),
            "u32": number("uint32"),
            "u64": number("uint64"),
            "i32": number("int32"),
            "small": {
                "description": "At most ten.", "type": "integer", "format": "uint32",
                "minimum": 3, "maximum": 10, "default": 3
            },
            "optional": {
                "description": "Maybe.", "type": ["integer", "null"], "format": "uint16",
                "default": null
            },
            "either": {
                "description": "A number or a text.", "default": "1%",
                "anyOf": [{ "type": "integer", "format": "uint32" }, { "type": "string" }]
            },
            "list": {
                "description": "Numbers.", "type": "array", "default": [],
                "items": { "$ref": "#/$defs/Port" }
            },
            "format": { "description": "A text.", "type": "string", "default": "uint8" },
            "data": {
                "description": "Anything.", "default": { "format": "uint8", "type": "integer" }
            }
        },
        "$defs": { "Port": { "type": "integer", "format": "uint16" } }
    })
}

#[test]
fn an_integer_that_its_type_cannot_hold_is_refused_with_the_range() {
    let schema = parse(&integers()).unwrap();
    for (config, pointer, limit) in [
        (json!({ "u8": 256 }), "/u8", "maximum of 255"),
        (
            json!({ "u32": 4_294_967_296_u64 }),
            "/u32",
            "maximum of 4294967295",
        ),
        (json!({ "u32": -1 }), "/u32", "minimum of 0"),
        (
            json!({ "u64": 1e300 }),
            "/u64",
            "maximum of 18446744073709551615",
        ),
        (
            json!({ "i32": -2_147_483_649_i64 }),
            "/i32",
            "minimum of -2147483648",
        ),
        (json!({ "small": 11 }), "/small", "maximum of 10"),
        (json!({ "small": 2 }), "/small", "minimum of 3"),
        (
            json!({ "optional": 65_536 }),
            "/optional",
            "maximum of 65535",
        ),
        (
            json!({ "list": [1, 65_536] }),
            "/list/1",
            "maximum of 65535",
        ),
        (
            json!({ "either": 4_294_967_296_u64 }),
            "/either",
            "4294967295",
        ),
    ] {
        let error = schema.configure(Some(config)).unwrap_err();
        let [problem] = error.problems() else {
            panic!("{error}");
        };
        assert_eq!(problem.pointer, pointer, "{error}");
        assert!(problem.message.contains(limit), "{error}");
    }
    for config in [
        json!({ "u8": 0, "u32": u32::MAX, "u64": u64::MAX, "i32": i32::MIN }),
        json!({ "optional": null, "list": [0, 65_535], "either": 0, "format": "int8" }),
    ] {
        schema.configure(Some(config)).unwrap();
    }
    let data = schema.configure(None).unwrap()["data"].clone();
    assert_eq!(data, json!({ "format": "uint8", "type": "integer" }));
}

#[test]
fn a_whole_number_is_written_as_a_strategy_can_read_it() {
    let schema = parse(&integers()).unwrap();
    let config = json!({ "u8": 2.0, "list": [3.0], "data": { "share": 0.5, "huge": 1e300 } });
    let config = schema.configure(Some(config)).unwrap();
    assert_eq!((&config["u8"], &config["list"]), (&json!(2), &json!([3])));
    assert_eq!(config["data"], json!({ "share": 0.5, "huge": 1e300 }));
}
