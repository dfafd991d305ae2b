//! A file with the policies and selectors of environments.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use figment::Figment;
use figment::providers::{Format as _, Toml};
use hotswap_core::{Environment, Policy, Selector};
use serde::Deserialize;

use crate::args::shorten;
use crate::config::{PolicyOverrides, check_selectors};

/// More environments than anybody has.
const MAX_BYTES: u64 = 1 << 20;

/// The policies and selectors of a file.
#[derive(Debug)]
pub(super) struct PolicyFile {
    /// The policy of each environment, whole.
    pub(super) policies: BTreeMap<Environment, Policy>,
    /// The selectors of those that have one.
    pub(super) selectors: BTreeMap<Environment, Selector>,
}

/// What the file may hold.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    environments: BTreeMap<Environment, PolicyOverrides>,
}

impl PolicyFile {
    /// Reads a file, or standard input where it is `-`.
    ///
    /// # Errors
    /// Where it cannot be read, or holds anything but valid policies.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let mut text = String::new();
        let read = if path == Path::new("-") {
            std::io::stdin()
                .take(MAX_BYTES + 1)
                .read_to_string(&mut text)
        } else {
            File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
        };
        let length = read.with_context(|| format!("cannot read {name}"))?;
        ensure!(
            u64::try_from(length).is_ok_and(|length| length <= MAX_BYTES),
            "{name} has more than 1 MiB: that is no file of policies"
        );
        Self::parse(&text).with_context(|| format!("{name} is not valid"))
    }

    fn parse(text: &str) -> Result<Self> {
        let document = Figment::from(Toml::string(text)).extract::<Document>();
        let document = document.map_err(|error| {
            // An error repeats the value, which may be long.
            let text = error.to_string();
            anyhow!(text.split(' ').map(shorten).collect::<Vec<_>>().join(" "))
        })?;
        let mut policies = BTreeMap::new();
        let mut selectors = BTreeMap::new();
        for (environment, overrides) in document.environments {
            let policy = overrides.apply_to(Policy::default_for(&environment));
            if let Err(error) = policy.check() {
                bail!("environments.{environment}.{error}");
            }
            if let Some(selector) = overrides.selector {
                selectors.insert(environment.clone(), selector);
            }
            policies.insert(environment, policy);
        }
        check_selectors(&selectors)?;
        Ok(Self {
            policies,
            selectors,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_not_given_are_the_defaults_of_the_name() {
        let file = PolicyFile::parse("[environments.qa]\nmaxUnavailable = \"25%\"\n").unwrap();
        let qa: Environment = "qa".parse().unwrap();
        let mut policy = Policy::default_for(&qa);
        policy.max_unavailable = "25%".parse().unwrap();
        assert_eq!(file.policies, BTreeMap::from([(qa.clone(), policy)]));
        assert!(file.selectors.is_empty());
        let file = PolicyFile::parse("[environments.qa]\nselector = \"zone=eu\"\n").unwrap();
        assert_eq!(file.selectors[&qa].to_string(), "zone=eu");
        assert_eq!(file.policies[&qa], Policy::default_for(&qa));
    }

    #[test]
    fn anything_else_is_refused_by_its_key() {
        for (text, expected) in [
            ("listen = \"127.0.0.1:0\"", "listen"),
            (
                "[environments.qa]\nmaxUnavailable = 0",
                "environments.qa.maxUnavailable",
            ),
            (
                "[environments.qa]\nselector = \"zone in eu\"",
                "environments.qa.selector",
            ),
            (
                "[environments.a]\nselector = \"b\"\n[environments.c]\nselector = \"b\"",
                "environments.a.selector and environments.c.selector",
            ),
            ("[environments.qa]\nbold = true", "bold"),
            ("", "environments"),
        ] {
            let error = format!("{:#}", PolicyFile::parse(text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
