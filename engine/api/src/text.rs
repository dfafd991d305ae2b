//! Texts in paths and queries that are checked as they come in.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use hotswap_core::{DeploymentId, Digest, Environment, ModuleName, NodeId, StrategyName};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromParameter, ParseResult, Type};
use semver::Version;

const LABEL: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

/// Something that is written as one word.
pub(crate) trait Word: FromStr<Err: Display> + Send + Sync {
    /// What it looks like, for the document.
    const PATTERN: &str;
    /// One of them, for the document.
    const EXAMPLE: &str;
}

impl Word for ModuleName {
    const PATTERN: &str = LABEL;
    const EXAMPLE: &str = "checkout";
}

impl Word for Environment {
    const PATTERN: &str = LABEL;
    const EXAMPLE: &str = "production";
}

impl Word for StrategyName {
    const PATTERN: &str = LABEL;
    const EXAMPLE: &str = "canary";
}

impl Word for NodeId {
    const PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$";
    const EXAMPLE: &str = "node-1.example";
}

impl Word for DeploymentId {
    const PATTERN: &str = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";
    const EXAMPLE: &str = "0199e1f3-5b5c-7d5e-9d52-6f1f3a3e8a10";
}

impl Word for Digest {
    const PATTERN: &str = "^sha256:[0-9a-f]{64}$";
    const EXAMPLE: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
}

impl Word for Version {
    const PATTERN: &str = r"^\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$";
    const EXAMPLE: &str = "1.4.2";
}

/// A parameter that is such a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text<T>(pub T);

impl<T: Word> Type for Text<T> {
    const IS_REQUIRED: bool = true;

    type RawValueType = T;
    type RawElementValueType = T;

    fn name() -> Cow<'static, str> {
        "string".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            pattern: Some(T::PATTERN.to_owned()),
            example: Some(T::EXAMPLE.into()),
            ..MetaSchema::new("string")
        }))
    }

    fn as_raw_value(&self) -> Option<&T> {
        Some(&self.0)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a T> + 'a> {
        Box::new(std::iter::once(&self.0))
    }
}

impl<T: Word> ParseFromParameter for Text<T> {
    fn parse_from_parameter(value: &str) -> ParseResult<Self> {
        value.parse().map(Self).map_err(ParseError::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_what_they_are_examples_of() {
        fn check<T: Word>() {
            assert!(T::EXAMPLE.parse::<T>().is_ok(), "{}", T::EXAMPLE);
        }
        check::<ModuleName>();
        check::<Environment>();
        check::<StrategyName>();
        check::<NodeId>();
        check::<DeploymentId>();
        check::<Digest>();
        check::<Version>();
    }
}
