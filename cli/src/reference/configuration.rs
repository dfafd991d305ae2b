//! `docs/CONFIGURATION.md`.

use hotswap_core::{Environment, Policy};
use serde_json::Value;

use super::GENERATED;
use super::keys::{ANY_NAME, Key, Section, sections, toml};
use super::markdown::{code, heading, table};
use crate::config::PolicyOverrides;

const INTRODUCTION: &str = "`hotswap serve` reads its configuration from these sources. A later \
    one overrides an earlier one:\n\
    \n\
    1. the defaults below;\n\
    2. a TOML file: the one of `--config` or `HOTSWAP_CONFIG`, else `hotswap.toml` in the current \
    folder, if it exists;\n\
    3. environment variables;\n\
    4. flags, see [CLI.md](CLI.md#hotswap-serve).\n\
    \n\
    Unknown keys are rejected. Spans of time are written as `\"30s\"` or `\"1h 30m\"`. \
    [hotswap.example.toml](../hotswap.example.toml) holds every key with its default.";

pub(super) fn generate() -> String {
    let mut out = format!("{GENERATED}\n\n");
    heading(&mut out, 1, "Configuration", INTRODUCTION);
    for section in sections() {
        let title = match section.name.as_str() {
            "" => "Top level".to_owned(),
            name => format!("`[{name}]`"),
        };
        let description = match section.name.as_str() {
            "" => "",
            _ => &section.description,
        };
        heading(&mut out, 2, &title, description);
        let rows: Vec<_> = section.keys.iter().map(row).collect();
        let head = ["Key", "Default", "Environment variable", "What it does"];
        table(&mut out, &head, &rows);
        if section.name.ends_with(ANY_NAME) {
            policy_defaults(&mut out, &section);
        }
    }
    format!("{}\n", out.trim_end())
}

fn row(key: &Key) -> Vec<String> {
    vec![
        code(&key.name),
        code(&key.default.as_ref().map_or_else(String::new, toml)),
        code(key.variable.unwrap_or_default()),
        key.description.clone(),
    ]
}

/// The defaults of a policy depend on the environment's name.
fn policy_defaults(out: &mut String, section: &Section) {
    let environments = policies();
    let any_other = "any other name".to_owned();
    // Some keys have no default in any environment.
    let has_default = |key: &&Key| {
        environments
            .iter()
            .any(|(_, all)| !all[&key.name].is_null())
    };
    let keys: Vec<_> = section.keys.iter().filter(has_default).collect();
    let mut head = vec!["Default in"];
    head.extend(keys.iter().map(|key| key.name.as_str()));
    let rows: Vec<_> = environments
        .iter()
        .map(|(name, policy)| {
            // The last one stands for all names without defaults of their own.
            let name = match *name == OTHER {
                true => &any_other,
                false => name,
            };
            let values = keys.iter().map(|key| code(&toml(&policy[&key.name])));
            std::iter::once(name.clone()).chain(values).collect()
        })
        .collect();
    table(out, &head, &rows);
}

/// The names that have a default policy of their own, and one that has not.
const NAMES: [&str; 4] = ["development", "qa", "staging", OTHER];
const OTHER: &str = "production";

/// The default policy for each name, as the configuration file spells it.
pub(super) fn policies() -> Vec<(String, Value)> {
    let policy = |name: &str| -> (String, Value) {
        let environment: Environment = name.parse().expect("a valid name");
        let policy = PolicyOverrides::from(Policy::default_for(&environment));
        let value = serde_json::to_value(policy).expect("a policy is JSON");
        (name.to_owned(), value)
    };
    NAMES.map(policy).into()
}
