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
                if is_secret(name) && value.is_string() {
                    *value = REMOVED.into();
                } else {
                    remove_secrets(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(remove_secrets),
        Value::String(text) => {
            if let Some(clean) = without_userinfo(text) {
                *text = clean;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether a key names a secret itself, rather than its file.
fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    let words = ["password", "passphrase", "secret", "token", "credential"];
    words.iter().any(|word| key.ends_with(word))
}

/// A URL without what is before its last `@`: a password may have any letter. `None` for anything else.
fn without_userinfo(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let (_, host) = rest.rsplit_once('@')?;
    Some(format!("{scheme}://{REMOVED}@{host}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_removed_and_names_of_files_stay() {
        let mut value = json!({
            "tokenFile": "/etc/token",
            "url": "https://ada:pass/w@rd@host:1/path?q=1",
            "origins": ["redis://:password@h", "http://h:1/a", "not @ URL"],
            "settings": { "dbPassword": "x", "apiToken": "y", "tokens": 3 },
            "number": 1,
        });
        remove_secrets(&mut value);
        assert_eq!(
            value,
            json!({
                "tokenFile": "/etc/token",
                "url": "https://(removed)@host:1/path?q=1",
                "origins": ["redis://(removed)@h", "http://h:1/a", "not @ URL"],
                "settings": { "dbPassword": REMOVED, "apiToken": REMOVED, "tokens": 3 },
                "number": 1,
            })
        );
    }
}
