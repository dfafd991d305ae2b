use std::fmt;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

#[cfg(test)]
mod tests;

/// The most that a schema may have, in bytes: it is shown to people.
const LARGEST: usize = 256 << 10;

/// The most places that an error names: nobody reads more.
const NAMED: usize = 20;

/// How deeply objects may be nested. A schema that refers to itself could go on for ever.
const DEPTH: usize = 32;

/// The URI of the one dialect that is understood.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of a strategy's configuration, compiled.
pub(crate) struct ConfigSchema {
    schema: Value,
    validator: Validator,
}

/// Why a schema does not do.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// It is too large.
    #[error("it has {0} bytes, and may have {LARGEST}")]
    TooLarge(usize),
    /// It is no JSON.
    #[error("it is not JSON: {0}")]
    Json(serde_json::Error),
    /// It is written in another dialect.
    #[error("its $schema is {0}, and only {DIALECT} is understood")]
    Dialect(String),
    /// It is no schema.
    #[error("it is not a JSON Schema of 2020-12: {0}")]
    Invalid(String),
    /// It allows something else than an object.
    #[error("its type must be \"object\": a configuration has names for all that can be set")]
    NoObject,
    /// A property has no default.
    #[error("the property {0} has no default: whoever starts a deployment need not set anything")]
    NoDefault(String),
    /// A property has no description.
    #[error("the property {0} has no description")]
    NoDescription(String),
    /// Objects are nested too deeply, or it refers to itself.
    #[error("its objects are nested more than {DEPTH} deep at {0}")]
    TooDeep(String),
    /// Its own defaults are not valid.
    #[error("its own defaults do not fit it: {0}")]
    Defaults(ConfigError),
}

/// Why a configuration does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
    more: usize,
}

/// One place where a configuration does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, as a JSON pointer; empty for the configuration itself.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
}

impl ConfigSchema {
    /// Reads a schema, and checks that it says of every property what it is and what it
    /// is when nobody sets it.
    pub(crate) fn parse(text: &str) -> Result<Self, SchemaError> {
        if text.len() > LARGEST {
            return Err(SchemaError::TooLarge(text.len()));
        }
        let schema: Value = serde_json::from_str(text).map_err(SchemaError::Json)?;
        match schema.get("$schema") {
            Some(Value::String(dialect)) if dialect.trim_end_matches('#') == DIALECT => {}
            None => {}
            Some(other) => return Err(SchemaError::Dialect(other.to_string())),
        }
        jsonschema::draft202012::meta::validate(&schema)
            .map_err(|error| SchemaError::Invalid(described(&error)))?;
        if schema.get("type").and_then(Value::as_str) != Some("object") {
            return Err(SchemaError::NoObject);
        }
        complete(&schema, &schema, "", 0)?;
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            // Linear in the text, whatever the pattern: both come from strangers.
            .with_pattern_options(PatternOptions::regex())
            .offline()
            .build(&schema)
            .map_err(|error| SchemaError::Invalid(described(&error)))?;
        let schema = Self { schema, validator };
        schema.configure(None).map_err(SchemaError::Defaults)?;
        Ok(schema)
    }

    /// The schema itself.
    pub(crate) fn json(&self) -> &Value {
        &self.schema
    }

    /// The configuration with defaults for what it leaves out.
    pub(crate) fn configure(&self, config: Option<Value>) -> Result<Value, ConfigError> {
        let mut config = match config {
            None | Some(Value::Null) => Value::Object(Map::new()),
            Some(config) => config,
        };
        fill(&self.schema, &self.schema, &mut config, 0);
        let mut errors = self.validator.iter_errors(&config);
        let problems: Vec<_> = errors
            .by_ref()
            .take(NAMED)
            .map(|error| self.problem(&error))
            .collect();
        let more = errors.count();
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError { problems, more })
        }
    }

    fn problem(&self, error: &ValidationError<'_>) -> Problem {
        let message = match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let place = error.schema_path().as_str();
                let parent = place.rsplit_once('/').map_or("", |(parent, _)| parent);
                let schema = self.schema.pointer(parent).unwrap_or(&Value::Null);
                let known: Vec<_> = properties(schema).map(|(name, _)| name.as_str()).collect();
                let unexpected = unexpected.join(", ");
                match known.as_slice() {
                    [] => format!("there is no {unexpected} here; nothing can be set"),
                    known => format!(
                        "there is no {unexpected} here; there is {}",
                        known.join(", ")
                    ),
                }
            }
            ValidationErrorKind::OneOfNotValid { context }
            | ValidationErrorKind::AnyOf { context } => {
                alternatives(error.instance(), context).unwrap_or_else(|| described(error))
            }
            _ => described(error),
        };
        Problem {
            pointer: error.instance_path().as_str().to_owned(),
            message: shortened(message),
        }
    }
}

impl ConfigError {
    /// The places, in the order of the schema; the first twenty of many.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            if problem.pointer.is_empty() {
                f.write_str(&problem.message)?;
            } else {
                write!(f, "{}: {}", problem.pointer, problem.message)?;
            }
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// What a value would have had to be: by each alternative, why it is not that one.
fn alternatives(value: &Value, context: &[Vec<ValidationError<'static>>]) -> Option<String> {
    let reasons: Option<Vec<_>> = context
        .iter()
        .map(|errors| match errors.first()?.kind() {
            // How schemas say a choice of names, each with a description.
            ValidationErrorKind::Constant { expected_value } => Some(expected_value.to_string()),
            ValidationErrorKind::Type { kind } => Some(match kind {
                TypeKind::Single(one) => format!("of type {one}"),
                TypeKind::Multiple(many) => {
                    let many: Vec<_> = many.iter().map(|one| one.to_string()).collect();
                    format!("of type {}", many.join(" or "))
                }
            }),
            ValidationErrorKind::Pattern { pattern } => Some(format!("text like {pattern}")),
            _ => None,
        })
        .collect();
    let reasons = reasons.filter(|reasons| !reasons.is_empty())?;
    let value = shortened(value.to_string());
    Some(format!("{value} is none of: {}", reasons.join(", ")))
}

fn described(error: &ValidationError<'_>) -> String {
    shortened(error.to_string())
}

/// A value of a megabyte makes no better message than its beginning.
fn shortened(text: String) -> String {
    const LONGEST: usize = 500;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Checks that every property that a person can set has a description and a default, or
/// must be set where its object is.
fn complete(root: &Value, schema: &Value, place: &str, depth: usize) -> Result<(), SchemaError> {
    if depth > DEPTH {
        return Err(SchemaError::TooDeep(place.to_owned()));
    }
    let required: Vec<&str> = match schema.get("required").and_then(Value::as_array) {
        // A request may leave the whole configuration out, so nothing of it is required.
        Some(names) if depth > 0 => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    for (name, property) in properties(schema) {
        let place = format!("{place}/{name}");
        let target = resolve(root, property);
        let says = |keyword: &str| property.get(keyword).or_else(|| target.get(keyword));
        let description = says("description").and_then(Value::as_str);
        if description.is_none_or(|text| text.trim().is_empty()) {
            return Err(SchemaError::NoDescription(place));
        }
        if says("default").is_none() && !required.contains(&name.as_str()) {
            return Err(SchemaError::NoDefault(place));
        }
        complete(root, target, &place, depth + 1)?;
    }
    Ok(())
}

/// Puts the defaults in, from the outside to the inside.
fn fill(root: &Value, schema: &Value, value: &mut Value, depth: usize) {
    let Some(object) = value.as_object_mut() else {
        return;
    };
    if depth > DEPTH {
        return;
    }
    for (name, property) in properties(schema) {
        let target = resolve(root, property);
        if !object.contains_key(name) {
            let default = property.get("default").or_else(|| target.get("default"));
            if let Some(default) = default {
                object.insert(name.clone(), default.clone());
            }
        }
        if let Some(inner) = object.get_mut(name) {
            fill(root, target, inner, depth + 1);
        }
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten()
}

/// What a schema refers to, within the same document; itself where it refers to nothing.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    // A chain of references may be a circle.
    for _ in 0..DEPTH {
        let target = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|place| place.strip_prefix('#'))
            .and_then(|pointer| root.pointer(pointer));
        match target {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}
