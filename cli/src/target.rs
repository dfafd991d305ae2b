//! `hello` and `hello@1.2.3`.

use std::str::FromStr;

use hotswap_core::ModuleName;
use semver::Version;

/// A module, and perhaps which version of it: `hello`, `hello@1.2.3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The module.
    pub module: ModuleName,
    /// The version, where one was named.
    pub version: Option<Version>,
}

/// One version of a module: `hello@1.2.3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The module.
    pub module: ModuleName,
    /// The version.
    pub version: Version,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (module, version) = match text.split_once('@') {
            Some((module, version)) => (module, Some(read_version(version)?)),
            None => (text, None),
        };
        let module = module.parse().map_err(|error| format!("{error}"))?;
        Ok(Self { module, version })
    }
}

impl FromStr for Release {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Target { module, version } = text.parse()?;
        let version = version.ok_or_else(|| format!("name the version too, as {module}@1.0.0"))?;
        Ok(Self { module, version })
    }
}

fn read_version(text: &str) -> Result<Version, String> {
    Version::parse(text)
        .map_err(|error| format!("'{text}' is no semantic version such as 1.2.3: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_module_and_version() {
        let target: Target = "hello@1.2.3-rc.1".parse().unwrap();
        assert_eq!(target.module.as_str(), "hello");
        assert_eq!(target.version, Some(Version::parse("1.2.3-rc.1").unwrap()));
        assert_eq!("hello".parse::<Target>().unwrap().version, None);
    }

    #[test]
    fn says_what_is_missing() {
        for (text, word) in [
            ("hello@1.2", "semantic version"),
            ("hello@", "semantic version"),
            ("Hello@1.0.0", "lower-case"),
            ("hello", "hello@1.0.0"),
        ] {
            let error = text.parse::<Release>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
