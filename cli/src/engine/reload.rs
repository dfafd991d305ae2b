//! What SIGHUP does to an engine.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::Value;

use super::{EngineTokens, RunningEngine, tokens_of_api};
use crate::config::{Config, Jwt};

/// Keys that need no restart, besides the contents of files that they name.
const RELOADED: [&str; 4] = ["jwt", "tokenFile", "nodeTokenFile", "environments"];

impl RunningEngine {
    /// Reads tokens, keys of signed tokens, passwords of the store and certificates again, and takes
    /// the policies of environments from this configuration. Logs which other keys have changed.
    ///
    /// # Errors
    /// Where a key of signed tokens cannot be used, or a token is too weak. Nothing has changed
    /// then, but certificates.
    pub fn reload(&self, config: &Config, tokens: &EngineTokens) -> Result<()> {
        // What cannot be used of these is logged with the file.
        self.reload_files.notify_one();
        let jwt = config.jwt.as_ref().map(Jwt::verifier).transpose()?;
        self.authenticator.replace(tokens_of_api(tokens)?, jwt);
        self.node_token.replace(tokens.node.clone());
        self.engine.environments.replace_policies(config.policies());
        self.engine.policies.report_ignored();
        let needs_restart = changed_keys(&self.config, config);
        tracing::info!(
            "reloaded tokens, keys of signed tokens, policies of environments and certificates"
        );
        if !needs_restart.is_empty() {
            let keys = needs_restart.join(", ");
            tracing::warn!(keys, "these keys have changed, and need a restart");
        }
        Ok(())
    }
}

/// The keys that differ, without those that need no restart.
fn changed_keys(before: &Config, after: &Config) -> Vec<String> {
    let (before, after) = (to_json(before), to_json(after));
    let mut keys = BTreeSet::new();
    differences("", &before, &after, &mut keys);
    let is_reloaded = |key: &String| {
        let top = key.split('.').next().unwrap_or_default();
        RELOADED.contains(&top) && !key.ends_with(".selector")
    };
    keys.into_iter().filter(|key| !is_reloaded(key)).collect()
}

fn to_json(config: &Config) -> Value {
    serde_json::to_value(config).unwrap_or_default()
}

fn differences(path: &str, before: &Value, after: &Value, keys: &mut BTreeSet<String>) {
    if before == after {
        return;
    }
    let empty = serde_json::Map::new();
    let tables = match (before, after) {
        (Value::Object(before), Value::Object(after)) => (before, after),
        (Value::Object(before), Value::Null) => (before, &empty),
        (Value::Null, Value::Object(after)) => (&empty, after),
        _ => {
            keys.insert(path.to_owned());
            return;
        }
    };
    for key in tables.0.keys().chain(tables.1.keys()) {
        let path = match path {
            "" => key.clone(),
            path => format!("{path}.{key}"),
        };
        let value = |table: &serde_json::Map<String, Value>| table.get(key).cloned();
        let (before, after) = (value(tables.0), value(tables.1));
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        differences(&path, &before, &after, keys);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn read(text: &str) -> Config {
        config::tests::read(text).unwrap()
    }

    #[test]
    fn keys_that_need_a_restart_are_named() {
        let before = read("tokenFile = \"a\"\n[environments.qa]\nmaxUnavailable = 1\n");
        let after = read(
            "tokenFile = \"b\"\nlisten = \"127.0.0.1:1\"\n[tls]\nca = \"c\"\n\
             [environments.qa]\nmaxUnavailable = 2\n\
             [environments.eu]\nselector = \"zone=eu\"\n",
        );
        assert!(changed_keys(&before, &before).is_empty());
        let expected = ["environments.eu.selector", "listen", "tls.ca"];
        assert_eq!(changed_keys(&before, &after), expected);
    }
}
