//! Parameters of paths and queries that are parsed into types of the core.

use std::borrow::Cow;

use hotswap_core::{
    DeploymentId, Digest, Environment, IdempotencyKey, ModuleName, NodeId, StrategyName,
    parse_version,
};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromParameter, ParseResult, Type};
use semver::Version;

const LABEL: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

/// A type that a parameter is parsed into.
pub(crate) trait ParameterType: Sized + Send + Sync {
    /// A regular expression for the OpenAPI document.
    const PATTERN: &str;
    /// An example for the OpenAPI document.
    const EXAMPLE: &str;

    /// Parses the text.
    fn parse(text: &str) -> Result<Self, hotswap_core::ParseError>;
}

impl ParameterType for ModuleName {
    const PATTERN: &str = LABEL;
    const EXAMPLE: &str = "checkout";

    fn parse(text: &str) -> Result<Self, hotswap_core::ParseError> {
        text.parse()
    }
}

impl ParameterType for Environment {
    const PATTERN: &str = LABEL;
    const EXAMPLE: &str = "production";

    fn parse(text: &str) -> Result<Self, hotswap_core::ParseError> {
        text.parse()
    }
}

impl ParameterType for StrategyName {
    const PATTERN: &str = LABEL;
    const EXAMPLE: &str = "canary";

    fn parse(text: &str) -> Result<Self, hotswap_core::ParseError> {
        text.parse()
    }
}

impl ParameterType for NodeId {
    const PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$";
    const EXAMPLE: &str = "node-1.example";

    fn parse(text: &str) -> Result<Self, hotswap_core::ParseError> {
        text.parse()
    }
}

impl ParameterType for IdempotencyKey {
    const PATTERN: &str = "^[!-~]{1,255}$";
    const EXAMPLE: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";

    fn parse(text: &str) -> Result<Self, hotswap_core::ParseError> {
        text.parse()
    }
}

impl ParameterType for DeploymentId {
    const PATTERN: &str = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";
    const EXAMPLE: &str = "0199e1f3-5b5c-7d5e-9d52-6f1f3a3e8a10";

    fn parse(text: &str) -> Result<Self, hotswap_core::ParseError> {
        text.parse()
    }
}

impl ParameterType for Digest {
    const PATTERN: &str = "^sha256:[0-9a-f]{64}$";
    const EXAMPLE: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(text: &str) -> Result<Self, hotswap_core::ParseError> {
        text.parse()
    }
}

impl ParameterType for Version {
    const PATTERN: &str = r"^\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$";
    const EXAMPLE: &str = "1.4.2";

    fn parse(text: &str) -> Result<Self, hotswap_core::ParseError> {
        parse_version(text)
    }
}

/// A parameter, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed<T>(pub T);

impl<T: ParameterType> Type for Parsed<T> {
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

impl<T: ParameterType> ParseFromParameter for Parsed<T> {
    fn parse_from_parameter(value: &str) -> ParseResult<Self> {
        T::parse(value).map(Self).map_err(ParseError::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_can_be_parsed() {
        fn check_example<T: ParameterType>() {
            assert!(T::parse(T::EXAMPLE).is_ok(), "{}", T::EXAMPLE);
        }
        check_example::<ModuleName>();
        check_example::<Environment>();
        check_example::<StrategyName>();
        check_example::<NodeId>();
        check_example::<IdempotencyKey>();
        check_example::<DeploymentId>();
        check_example::<Digest>();
        check_example::<Version>();
    }
}
