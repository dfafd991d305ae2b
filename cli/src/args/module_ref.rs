use std::str::FromStr;

use hotswap_core::ModuleName;
use semver::Version;

/// A module, with or without a version: `hello`, `hello@1.2.3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleRef {
    /// The module.
    pub module: ModuleName,
    /// The version, where one is named.
    pub version: Option<Version>,
}

/// One version of a module: `hello@1.2.3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleVersionRef {
    /// The module.
    pub module: ModuleName,
    /// The version.
    pub version: Version,
}

impl FromStr for ModuleRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (module, version) = match text.split_once('@') {
            Some((module, version)) => (module, Some(parse_version(version)?)),
            None => (text, None),
        };
        let module = module.parse().map_err(|error| format!("{error}"))?;
        Ok(Self { module, version })
    }
}

impl FromStr for ModuleVersionRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ModuleRef { module, version } = text.parse()?;
        let version = version.ok_or_else(|| format!("add a version, such as {module}@1.0.0"))?;
        Ok(Self { module, version })
    }
}

fn parse_version(text: &str) -> Result<Version, String> {
    hotswap_core::parse_version(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_module_and_version() {
        let module: ModuleRef = "hello@1.2.3-rc.1".parse().unwrap();
        assert_eq!(module.module.as_str(), "hello");
        assert_eq!(module.version, Some(Version::parse("1.2.3-rc.1").unwrap()));
        assert_eq!("hello".parse::<ModuleRef>().unwrap().version, None);
    }

    #[test]
    fn a_version_that_no_path_can_carry_is_refused() {
        let long = format!("hello@1.0.0-{}", "a".repeat(60_000));
        let error = long.parse::<ModuleRef>().unwrap_err();
        assert!(error.contains("128") && error.len() < 300, "{error}");
    }

    #[test]
    fn errors_name_what_is_missing() {
        for (text, word) in [
            ("hello@1.2", "semantic version"),
            ("hello@", "semantic version"),
            ("Hello@1.0.0", "lower-case"),
            ("hello", "hello@1.0.0"),
        ] {
            let error = text.parse::<ModuleVersionRef>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
