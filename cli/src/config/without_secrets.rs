use serde_json::{Map, Value};

use super::Config;

mod key;
mod text;

use key::{Place, is_secret, is_secret_number};

/// What stands for a secret.
const REMOVED: &str = "(removed)";

/// The table of the configuration whose keys its backend has chosen.
const FREE: &str = "settings";

/// What the value of a pair is called, where its name is a value too.
const VALUES: [&str; 2] = ["value", "values"];

impl Config {
    /// The configuration as JSON, for people who look for a fault. Its keys name files of secrets,
    /// and hold none; but the settings of a discovery backend may have any key, and a URL may have a
    /// password. What looks like a secret is removed, also where it is none.
    pub fn without_secrets(&self) -> Value {
        // It was read from such a form.
        let mut config = serde_json::to_value(self).unwrap_or_default();
        remove_secrets(&mut config, Place::Known);
        config
    }
}

fn remove_secrets(value: &mut Value, place: Place) {
    match value {
        Value::Object(fields) => remove_from_table(fields, place),
        Value::Array(items) => remove_from_list(items, place),
        Value::String(text) => *text = text::without_secrets(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn remove_from_list(items: &mut [Value], place: Place) {
    let mut is_value = false;
    for item in items {
        // A command line may be a list of its words.
        let precedes = item.as_str().is_some_and(text::precedes_secret);
        match item {
            Value::String(text) if is_value => REMOVED.clone_into(text),
            _ => remove_secrets(item, place),
        }
        is_value = precedes;
    }
}

fn remove_from_table(fields: &mut Map<String, Value>, place: Place) {
    // Such as a header in a list of headers: a name and a value.
    let is_pair = VALUES.iter().any(|name| fields.contains_key(*name));
    let names = ["name", "key", "header"];
    let mut names = names.iter().filter_map(|name| fields.get(*name)?.as_str());
    let names_secret = is_pair && names.any(|name| is_secret(name, place));
    for (name, value) in fields {
        let is_value = VALUES.contains(&name.as_str());
        let is_secret = match is_pair && (is_value || name == "key") {
            true => is_value && names_secret,
            false => is_secret(name, place),
        };
        // What is within a table of this program has a key that says what it is.
        let is_known_table = place == Place::Known && value.is_object();
        if is_secret && !is_known_table && may_be_secret(name, value) {
            *value = REMOVED.into();
        } else if name == FREE {
            remove_secrets(value, Place::Free);
        } else {
            remove_secrets(value, place);
        }
    }
}

/// Switches say how secrets are treated, and are none; so do most numbers.
fn may_be_secret(key: &str, value: &Value) -> bool {
    match value {
        Value::String(_) | Value::Array(_) | Value::Object(_) => true,
        Value::Number(_) => is_secret_number(key),
        Value::Null | Value::Bool(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_removed_and_names_of_files_stay() {
        let mut value = json!({
            "tokenFile": "/etc/token",
            "accessKeyId": "AKIA",
            "keyPrefix": "hotswap:",
            "tls": { "key": "/etc/tls.key" },
            "url": "https://ada:pass/w@rd@host:1/path?q=1",
            "origins": ["redis://:password@h", "http://h:1/a", "not @ URL?", "https://h/a?sig=x"],
            "settings": {
                "dbPassword": "x",
                "pwd": 1234,
                "key": "x",
                "secretId": "x",
                "api_token": "y",
                "tokens": 3,
                "tokensByHost": { "h": "z" },
                "API-Key": ["a", "b"],
                "authorization": "Bearer x",
                "datacenter": "dc1",
                "headers": [
                    { "name": "X-Api-Key", "value": "x" },
                    { "name": "Accept", "value": "text/plain" },
                ],
                "environment": [{ "key": "DB_PASSWORD", "value": "x" }, "API_TOKEN=x"],
                "command": ["curl", "--header", "Authorization: Basic x", "--pass", "x"],
            },
            "jwt": { "issuer": "i", "secretFile": "/etc/jwt" },
            "number": 1,
        });
        remove_secrets(&mut value, Place::Known);
        assert_eq!(
            value,
            json!({
                "tokenFile": "/etc/token",
                "accessKeyId": "AKIA",
                "keyPrefix": "hotswap:",
                "tls": { "key": "/etc/tls.key" },
                "url": "https://(removed)@host:1/path?(removed)",
                "origins": ["redis://(removed)@h", "http://h:1/a", "not @ URL?", "https://h/a?(removed)"],
                "settings": {
                    "dbPassword": REMOVED,
                    "pwd": REMOVED,
                    "key": REMOVED,
                    "secretId": REMOVED,
                    "api_token": REMOVED,
                    "tokens": 3,
                    "tokensByHost": REMOVED,
                    "API-Key": REMOVED,
                    "authorization": REMOVED,
                    "datacenter": "dc1",
                    "headers": [
                        { "name": "X-Api-Key", "value": REMOVED },
                        { "name": "Accept", "value": "text/plain" },
                    ],
                    "environment": [{ "key": "DB_PASSWORD", "value": REMOVED }, "API_TOKEN=(removed)"],
                    "command": ["curl", "--header", "Authorization: (removed)", "--pass", REMOVED],
                },
                "jwt": { "issuer": "i", "secretFile": "/etc/jwt" },
                "number": 1,
            })
        );
    }
}
