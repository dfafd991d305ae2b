//! The keys of the configuration, read from the schema of [`Config`].

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::markdown::one_line;
use crate::config::{Config, VARIABLES};

/// A table of the configuration file.
pub(super) struct Section {
    /// The path of the table; empty for the top level.
    pub(super) name: String,
    /// What it is for.
    pub(super) description: String,
    /// Whether the configuration is valid without it, and differs with it.
    pub(super) optional: bool,
    /// Its keys, sorted by name.
    pub(super) keys: Vec<Key>,
}

/// A key of the configuration file.
pub(super) struct Key {
    pub(super) name: String,
    /// What it does.
    pub(super) description: String,
    /// Its default; `None` where it has none.
    pub(super) default: Option<Value>,
    /// An example of a value, where there is no default.
    pub(super) example: Option<Value>,
    /// The environment variable that sets it.
    pub(super) variable: Option<&'static str>,
}

/// The placeholder in the path of a table that there is once for each environment.
pub(super) const ANY_NAME: &str = "<name>";

/// Every table: first the top level, then the others sorted by name.
pub(super) fn sections() -> Vec<Section> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
    });
    let schema = settings.into_generator().into_root_schema_for::<Config>();
    let schema = schema.to_value();
    let mut others = Vec::new();
    let top = section("", &schema, false, &mut others);
    let mut sections = vec![top];
    sections.extend(others);
    sections
}

fn section(name: &str, schema: &Value, optional: bool, others: &mut Vec<Section>) -> Section {
    let mut keys = Vec::new();
    let no_properties = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&no_properties);
    // Sorted here: the order of the map depends on features of serde_json.
    let mut names: Vec<_> = properties.keys().collect();
    names.sort();
    for key in names {
        let schema = &properties[key];
        let path = if name.is_empty() {
            key.clone()
        } else {
            format!("{name}.{key}")
        };
        match table(schema) {
            Some((suffix, table, optional)) => {
                let path = format!("{path}{suffix}");
                let mut section = section(&path, table, optional, others);
                section.description = description(schema);
                others.push(section);
            }
            None => keys.push(self::key(key, &path, schema)),
        }
    }
    Section {
        name: name.to_owned(),
        description: description(schema),
        optional,
        keys,
    }
}

/// Where the value of a key is a table: what to add to its path, the table's schema, and
/// whether it may be absent.
fn table(schema: &Value) -> Option<(String, &Value, bool)> {
    let is_table = |schema: &Value| schema["properties"].is_object();
    let each = &schema["additionalProperties"];
    if is_table(schema) {
        let types = schema["type"].as_array();
        let optional = types.is_some_and(|types| types.contains(&"null".into()));
        Some((String::new(), schema, optional))
    } else if is_table(each) {
        Some((format!(".{ANY_NAME}"), each, false))
    } else {
        let choices = schema["anyOf"].as_array()?;
        let table = choices.iter().find(|choice| is_table(choice))?;
        Some((String::new(), table, true))
    }
}

fn key(name: &str, path: &str, schema: &Value) -> Key {
    let default = schema.get("default").filter(|default| !default.is_null());
    let example = schema["examples"].as_array();
    let variable = VARIABLES.iter().find(|(_, key)| *key == path);
    Key {
        name: name.to_owned(),
        description: description(schema),
        default: default.cloned(),
        example: example.and_then(|examples| examples.first()).cloned(),
        variable: variable.map(|(variable, _)| *variable),
    }
}

fn description(schema: &Value) -> String {
    one_line(schema["description"].as_str().unwrap_or_default())
}

/// A value as TOML.
pub(super) fn toml(value: &Value) -> String {
    // JSON's strings, numbers, booleans and arrays of them are TOML's, too.
    match value {
        Value::Object(members) => {
            let members = members.iter();
            let members: Vec<_> = members
                .map(|(name, value)| format!("{name} = {}", toml(value)))
                .collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_description_and_a_default_or_is_described_otherwise() {
        for section in sections() {
            assert!(!section.description.is_empty(), "{}", section.name);
            for key in &section.keys {
                let path = format!("{}.{}", section.name, key.name);
                assert!(!key.description.is_empty(), "{path}");
                let is_policy = section.name.contains(ANY_NAME);
                assert!(
                    is_policy || key.default.is_some() || key.example.is_some(),
                    "{path}"
                );
            }
        }
    }

    #[test]
    fn every_variable_sets_a_key() {
        let sections = sections();
        let keys = || sections.iter().flat_map(|section| &section.keys);
        for (variable, _) in VARIABLES {
            assert!(
                keys().any(|key| key.variable == Some(variable)),
                "{variable}"
            );
        }
    }
}
