//! The JSON Schema of a strategy's configuration: which schemas are accepted, and how a
//! configuration is checked and completed.

mod document;
mod error;
mod extent;
mod integers;
#[cfg(test)]
mod tests;

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value};

use self::document::{DIALECT, MAX_DEPTH, MAX_SCHEMA_BYTES, properties, resolve_reference};
pub use self::error::{ConfigError, ConfigProblem, SchemaError};
use self::error::{describe_error, problem_from};
use self::extent::check_extent;
use self::integers::{add_ranges, write_whole_numbers};

/// Problems that one error lists. Nobody reads more.
const MAX_PROBLEMS: usize = 20;

/// The schema of a strategy's configuration, compiled.
pub(crate) struct ConfigSchema {
    schema: Value,
    validator: Validator,
}

impl ConfigSchema {
    /// Parses a schema. Checks that each property has a description and a default. Blocks: a schema
    /// may have many patterns.
    pub(crate) fn parse(text: &str) -> Result<Self, SchemaError> {
        if text.len() > MAX_SCHEMA_BYTES {
            return Err(SchemaError::TooLarge(text.len()));
        }
        let mut schema: Value = serde_json::from_str(text).map_err(SchemaError::Json)?;
        match schema.get("$schema") {
            Some(Value::String(dialect)) if dialect.trim_end_matches('#') == DIALECT => {}
            None => {}
            Some(other) => return Err(SchemaError::Dialect(other.to_string())),
        }
        // First: all that follows goes through the schema by recursion.
        check_extent(&schema)?;
        jsonschema::draft202012::meta::validate(&schema)
            .map_err(|error| SchemaError::Invalid(describe_error(&error)))?;
        if schema.get("type").and_then(Value::as_str) != Some("object") {
            return Err(SchemaError::NotAnObject);
        }
        check_properties(&schema, &schema, "", 0)?;
        add_ranges(&mut schema);
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            // Matching takes time linear in the text, whatever the pattern. Both come from
            // untrusted sources.
            .with_pattern_options(PatternOptions::regex())
            .offline()
            .build(&schema)
            .map_err(|error| SchemaError::Invalid(describe_error(&error)))?;
        let schema = Self { schema, validator };
        schema
            .configure(None)
            .map_err(SchemaError::InvalidDefaults)?;
        Ok(schema)
    }

    /// The schema as JSON, with the ranges of integers.
    pub(crate) fn json(&self) -> &Value {
        &self.schema
    }

    /// Fills in the defaults of a configuration, and validates the result.
    pub(crate) fn configure(&self, config: Option<Value>) -> Result<Value, ConfigError> {
        let mut config = match config {
            None | Some(Value::Null) => Value::Object(Map::new()),
            Some(config) => config,
        };
        write_whole_numbers(&mut config);
        insert_defaults(&self.schema, &self.schema, &mut config, 0);
        let mut errors = self.validator.iter_errors(&config);
        let problems: Vec<_> = errors
            .by_ref()
            .take(MAX_PROBLEMS)
            .map(|error| problem_from(&error, &self.schema))
            .collect();
        let unlisted = errors.count();
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError { problems, unlisted })
        }
    }
}

/// Checks that each property has a description, and a default unless its object requires
/// it. `path` is where `schema` stands in the configuration.
fn check_properties(
    root: &Value,
    schema: &Value,
    path: &str,
    depth: usize,
) -> Result<(), SchemaError> {
    if depth > MAX_DEPTH {
        return Err(SchemaError::TooDeep(path.to_owned()));
    }
    let required: Vec<&str> = match schema.get("required").and_then(Value::as_array) {
        // A request may omit the whole configuration, so its own properties need defaults.
        Some(names) if depth > 0 => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    for (name, property) in properties(schema) {
        let path = format!("{path}/{name}");
        let target = resolve_reference(root, property);
        let keyword = |keyword: &str| property.get(keyword).or_else(|| target.get(keyword));
        let description = keyword("description").and_then(Value::as_str);
        if description.is_none_or(|text| text.trim().is_empty()) {
            return Err(SchemaError::MissingDescription(path));
        }
        if keyword("default").is_none() && !required.contains(&name.as_str()) {
            return Err(SchemaError::MissingDefault(path));
        }
        check_properties(root, target, &path, depth + 1)?;
    }
    Ok(())
}

/// Inserts defaults for absent properties, outer objects first.
fn insert_defaults(root: &Value, schema: &Value, value: &mut Value, depth: usize) {
    let Some(object) = value.as_object_mut() else {
        return;
    };
    if depth > MAX_DEPTH {
        return;
    }
    for (name, property) in properties(schema) {
        let target = resolve_reference(root, property);
        if !object.contains_key(name) {
            let default = property.get("default").or_else(|| target.get("default"));
            if let Some(default) = default {
                object.insert(name.clone(), default.clone());
            }
        }
        if let Some(inner) = object.get_mut(name) {
            insert_defaults(root, target, inner, depth + 1);
        }
    }
}
