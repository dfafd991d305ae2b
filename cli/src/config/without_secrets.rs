use serde_json::Value;

use super::Config;

/// What stands for a secret.
const REMOVED: &str = "(removed)";

impl Config {
    /// The configuration as JSON, for people who look for a fault. Its keys name files of secrets,
    /// and hold none; but the settings of a discovery backend may have any key, and a URL may have a
    /// password.
    pub fn without_secrets(&self) -> Value {
        // It was read from such a form.
        let mut config = serde_json::to_value(self).unwrap_or_default();
        remove_secrets(&mut config);
        config
    }
}

fn remove_secrets(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if is_secret(name) && may_be_secret(value) {
                    *value = REMOVED.into();
                } else {
                    remove_secrets(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(remove_secrets),
        Value::String(text) => {
            if let Some(clean) = url_without_secrets(text) {
                *text = clean;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether a key names a secret itself, rather than its file or its id. It may name several, or
/// have the secret inside.
fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase().replace(['-', '_'], "");
    let names_file = ["file", "path", "id", "prefix"];
    if names_file.iter().any(|end| key.ends_with(end)) {
        return false;
    }
    let words = [
        "password",
        "passphrase",
        "passwd",
        "secret",
        "token",
        "credential",
        "authorization",
        "apikey",
        "accesskey",
        "privatekey",
        "signature",
        "cookie",
    ];
    let ends = ["auth", "pass", "jwt", "bearer"];
    words.iter().any(|word| key.contains(word)) || ends.iter().any(|end| key.ends_with(end))
}

/// Numbers and switches say how secrets are treated, and are none.
fn may_be_secret(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Array(_) | Value::Object(_))
}

/// A URL without what is before its last `@`, as a password may have any letter, and without its
/// query. `None` for anything else, and for a URL that has neither.
fn url_without_secrets(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let host = rest.rsplit_once('@').map(|(_, host)| host);
    let address = host.unwrap_or(rest);
    let path = address.split_once('?').map(|(path, _)| path);
    if host.is_none() && path.is_none() {
        return None;
    }
    let user = host.map_or_else(String::new, |_| format!("{REMOVED}@"));
    let query = path.map_or_else(String::new, |_| format!("?{REMOVED}"));
    let path = path.unwrap_or(address);
    Some(format!("{scheme}://{user}{path}{query}"))
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
            "url": "https://ada:pass/w@rd@host:1/path?q=1",
            "origins": ["redis://:password@h", "http://h:1/a", "not @ URL?", "https://h/a?sig=x"],
            "settings": {
                "dbPassword": "x",
                "api_token": "y",
                "tokens": 3,
                "tokensByHost": { "h": "z" },
                "API-Key": ["a", "b"],
                "authorization": "Bearer x",
                "datacenter": "dc1",
            },
            "number": 1,
        });
        remove_secrets(&mut value);
        assert_eq!(
            value,
            json!({
                "tokenFile": "/etc/token",
                "accessKeyId": "AKIA",
                "keyPrefix": "hotswap:",
                "url": "https://(removed)@host:1/path?(removed)",
                "origins": ["redis://(removed)@h", "http://h:1/a", "not @ URL?", "https://h/a?(removed)"],
                "settings": {
                    "dbPassword": REMOVED,
                    "api_token": REMOVED,
                    "tokens": 3,
                    "tokensByHost": REMOVED,
                    "API-Key": REMOVED,
                    "authorization": REMOVED,
                    "datacenter": "dc1",
                },
                "number": 1,
            })
        );
    }
}
