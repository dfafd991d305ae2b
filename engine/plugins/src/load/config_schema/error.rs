//! Why a schema or a configuration is rejected, in words for people.

use std::fmt;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value;

use super::document::{
    DIALECT, MAX_DEPTH, MAX_NESTING, MAX_SCHEMA_BYTES, MAX_SUBSCHEMAS, properties,
};

/// Why a configuration schema is rejected.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The schema is too large.
    #[error("the schema has {0} bytes; at most {MAX_SCHEMA_BYTES} are allowed")]
    TooLarge(usize),
    /// The text is not JSON.
    #[error("the schema is not JSON: {0}")]
    Json(serde_json::Error),
    /// The schema uses another dialect.
    #[error("$schema is {0}, but only {DIALECT} is supported")]
    Dialect(String),
    /// The text is JSON, but not a schema.
    #[error("the schema is not a JSON Schema of 2020-12: {0}")]
    Invalid(String),
    /// The schema describes something other than an object.
    #[error("the type of the schema must be \"object\", so that each setting has a name")]
    NotAnObject,
    /// A property has no default.
    #[error(
        "the property {0} has no default, but a request may omit every property: add a default"
    )]
    MissingDefault(String),
    /// A property has no description.
    #[error("the property {0} has no description")]
    MissingDescription(String),
    /// Objects are nested too deeply, or the schema refers to itself.
    #[error("objects are nested more than {MAX_DEPTH} levels deep at {0}")]
    TooDeep(String),
    /// With every reference followed, the schema is too large, or has no end.
    #[error(
        "with every $ref followed, the schema has more than {MAX_SUBSCHEMAS} subschemas, or is \
         nested more than {MAX_NESTING} levels deep: simplify it, and let nothing refer to itself"
    )]
    Endless,
    /// A reference is none to a place in the schema.
    #[error("the reference {0} leads to no place in the schema: use \"#/$defs/NAME\"")]
    Reference(String),
    /// A schema within the schema is a document of its own.
    #[error("a subschema has $id or $schema, but the schema must be one document: remove them")]
    Embedded,
    /// The defaults do not match the schema.
    #[error("the defaults do not match the schema: {0}")]
    InvalidDefaults(ConfigError),
}

impl SchemaError {
    pub(super) fn reference(to: &Value) -> Self {
        Self::Reference(truncate(to.to_string()))
    }
}

/// Why a configuration is rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub(super) problems: Vec<ConfigProblem>,
    /// How many further problems there are.
    pub(super) unlisted: usize,
}

/// One place where a configuration does not match its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// JSON pointer to the place. Empty for the configuration itself.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
}

impl ConfigError {
    /// The first twenty problems, in the order of the schema.
    pub fn problems(&self) -> &[ConfigProblem] {
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
        match self.unlisted {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Describes a validation error for people. `schema` is the root of the schema.
pub(super) fn problem_from(error: &ValidationError<'_>, schema: &Value) -> ConfigProblem {
    let message = match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let path = error.schema_path().as_str();
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            let parent = schema.pointer(parent).unwrap_or(&Value::Null);
            describe_unknown_properties(unexpected, parent)
        }
        ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context } => {
            describe_alternatives(error.instance(), context)
                .unwrap_or_else(|| describe_error(error))
        }
        _ => describe_error(error),
    };
    ConfigProblem {
        pointer: error.instance_path().as_str().to_owned(),
        message: truncate(message),
    }
}

pub(super) fn describe_error(error: &ValidationError<'_>) -> String {
    truncate(error.to_string())
}

fn describe_unknown_properties(unexpected: &[String], object: &Value) -> String {
    let known: Vec<_> = properties(object).map(|(name, _)| name.as_str()).collect();
    let unexpected = unexpected.join(", ");
    match known.as_slice() {
        [] => format!("unknown property {unexpected}; there are no settings"),
        known => format!(
            "unknown property {unexpected}; known are {}",
            known.join(", ")
        ),
    }
}

/// Lists the alternatives for a value that matches none. `None` if an alternative is not a
/// simple one: a constant, a type or a pattern.
fn describe_alternatives(
    value: &Value,
    context: &[Vec<ValidationError<'static>>],
) -> Option<String> {
    let alternatives: Option<Vec<_>> = context
        .iter()
        .map(|errors| match errors.first()?.kind() {
            // How a schema lists named choices, each with a description.
            ValidationErrorKind::Constant { expected_value } => Some(expected_value.to_string()),
            ValidationErrorKind::Type { kind } => Some(match kind {
                TypeKind::Single(one) => format!("type {one}"),
                TypeKind::Multiple(many) => {
                    let many: Vec<_> = many.iter().map(|one| one.to_string()).collect();
                    format!("type {}", many.join(" or "))
                }
            }),
            ValidationErrorKind::Pattern { pattern } => {
                Some(format!("text that matches {pattern}"))
            }
            ValidationErrorKind::Minimum { limit } => Some(format!("number of at least {limit}")),
            ValidationErrorKind::Maximum { limit } => Some(format!("number of at most {limit}")),
            _ => None,
        })
        .collect();
    let alternatives = alternatives.filter(|alternatives| !alternatives.is_empty())?;
    let value = truncate(value.to_string());
    Some(format!(
        "{value} is none of the allowed values: {}",
        alternatives.join(", ")
    ))
}

/// The beginning of a text. A message does not become clearer by repeating a megabyte.
fn truncate(text: String) -> String {
    const MAX_CHARS: usize = 500;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
