use std::str::FromStr;

use serde_json::{Map, Value};

use super::quote::shorten;

/// The most names in a key. Deeper objects are no settings, and each level takes stack where
/// the object is written and dropped.
const MAX_DEPTH: usize = 32;

/// One setting of a strategy: `soak=10s`, `steps=[10,50]`, `probe.path=/live`.
///
/// The value is JSON where it parses as JSON, else text; `name='"10"'` is the text 10. A
/// dot in the key reaches into an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    path: Vec<String>,
    value: Value,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = parse_pair(text)?;
        let path: Vec<_> = key.split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            let key = shorten(&key);
            return Err(format!("'{key}' has a dot without a name on each side"));
        }
        if path.len() > MAX_DEPTH {
            return Err(format!(
                "the key has {} dots, and {} are allowed",
                path.len() - 1,
                MAX_DEPTH - 1
            ));
        }
        let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
        Ok(Self { path, value })
    }
}

impl Setting {
    /// Sets the value in `config`. A value on the path that is not an object is replaced by
    /// one: the later setting wins, as on the command line.
    pub fn apply_to(&self, config: &mut Map<String, Value>) {
        let Some((last, parents)) = self.path.split_last() else {
            return;
        };
        let mut object = config;
        for key in parents {
            let child = object
                .entry(key)
                .or_insert_with(|| Value::Object(Map::new()));
            if !child.is_object() {
                *child = Value::Object(Map::new());
            }
            let Some(child) = child.as_object_mut() else {
                return;
            };
            object = child;
        }
        object.insert(last.clone(), self.value.clone());
    }
}

/// Splits `key=value` at the first `=`.
pub fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as key=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(settings: &[&str]) -> Value {
        let mut config = Map::new();
        for setting in settings {
            setting.parse::<Setting>().unwrap().apply_to(&mut config);
        }
        Value::Object(config)
    }

    #[test]
    fn values_that_parse_as_json_are_json() {
        assert_eq!(
            config(&[
                "soak=10s",
                "steps=[10,50]",
                "batch=3",
                "name=\"3\"",
                "empty=",
                "a=b=c"
            ]),
            json!({"soak": "10s", "steps": [10, 50], "batch": 3, "name": "3", "empty": "",
                "a": "b=c"})
        );
    }

    #[test]
    fn dots_reach_into_objects_and_the_last_setting_wins() {
        assert_eq!(
            config(&["probe.path=/a", "probe.status=204", "probe.path=/b"]),
            json!({"probe": {"path": "/b", "status": 204}})
        );
        assert_eq!(config(&["a=1", "a.b=2"]), json!({"a": {"b": 2}}));
    }

    #[test]
    fn a_key_of_many_thousand_dots_is_refused() {
        let deep = format!("{}a=1", "a.".repeat(30_000));
        let error = deep.parse::<Setting>().unwrap_err();
        assert!(error.contains("30000 dots"), "{error}");
        let deepest = format!("{}a=1", "a.".repeat(MAX_DEPTH - 1));
        assert!(deepest.parse::<Setting>().is_ok());
    }

    #[test]
    fn rejects_settings_without_a_key() {
        for bad in ["", "soak", "=1", "a..b=1", ".a=1"] {
            assert!(bad.parse::<Setting>().is_err(), "{bad}");
        }
    }
}
