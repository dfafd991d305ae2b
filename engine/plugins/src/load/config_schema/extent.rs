//! How large a schema is with every reference followed.

use serde_json::Value;

use super::document::{MAX_NESTING, MAX_SUBSCHEMAS, resolve_pointer};
use super::error::SchemaError;

/// What one `unevaluated…` counts as: each has all that is beside it checked once more, so that a
/// few in each other multiply.
const UNEVALUATED: usize = MAX_SUBSCHEMAS / 8;

/// Checks that neither the compiler of schemas nor a validation can run out of stack or go on for
/// ever, whoever wrote the schema: a reference is followed wherever it stands, so a few of them
/// can make a short text endless. Takes any JSON.
pub(super) fn check_extent(schema: &Value) -> Result<(), SchemaError> {
    let mut extent = Extent {
        root: schema,
        left: MAX_SUBSCHEMAS,
    };
    extent.visit(schema, 0)
}

struct Extent<'a> {
    root: &'a Value,
    /// Subschemas that there may still be.
    left: usize,
}

impl<'a> Extent<'a> {
    fn visit(&mut self, schema: &'a Value, nesting: usize) -> Result<(), SchemaError> {
        let Some(keywords) = schema.as_object() else {
            return Ok(());
        };
        if nesting > MAX_NESTING {
            return Err(SchemaError::Endless);
        }
        self.spend(1)?;
        for (keyword, value) in keywords {
            match keyword.as_str() {
                "$ref" => {
                    let target = value.as_str().and_then(|to| resolve_pointer(self.root, to));
                    let target = target.ok_or_else(|| SchemaError::reference(value))?;
                    self.visit(target, nesting + 1)?;
                }
                // With these, references lead elsewhere than they say.
                "$dynamicRef" => return Err(SchemaError::reference(value)),
                "$id" | "$schema" if nesting > 0 => return Err(SchemaError::Embedded),
                "properties" | "patternProperties" | "dependentSchemas" | "dependencies"
                | "$defs" | "definitions" => {
                    let named = value.as_object().into_iter().flatten();
                    for (_, schema) in named {
                        self.visit(schema, nesting + 1)?;
                    }
                }
                // Any JSON, none of it a schema.
                "default" | "const" | "enum" | "examples" => {}
                "unevaluatedItems" | "unevaluatedProperties" => {
                    self.spend(UNEVALUATED)?;
                    self.visit(value, nesting + 1)?;
                }
                _ => match value {
                    Value::Array(schemas) => {
                        for schema in schemas {
                            self.visit(schema, nesting + 1)?;
                        }
                    }
                    schema => self.visit(schema, nesting + 1)?,
                },
            }
        }
        Ok(())
    }

    fn spend(&mut self, subschemas: usize) -> Result<(), SchemaError> {
        let left = self.left.checked_sub(subschemas);
        self.left = left.ok_or(SchemaError::Endless)?;
        Ok(())
    }
}
