use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use hotswap_core::Requester;
use hotswap_runner::NewDeployment;
use poem_openapi::Object;
use poem_openapi::types::Example;
use serde::Deserialize;

use crate::auth::Identity;
use crate::problem::{FieldError, Kind, Problem};

/// A journal's header is read whenever its deployment is: these keep it small.
const LONGEST_TEXT: usize = 4096;
const MOST_METADATA: usize = 64;
const LONGEST_METADATA: usize = 1024;
/// RFC 5321's limit for an address.
const LONGEST_EMAIL: usize = 254;

/// A deployment that is asked for.
#[derive(Debug, Clone, PartialEq, Deserialize, Object)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[oai(
    rename_all = "camelCase",
    deny_unknown_fields,
    skip_serializing_if_is_none,
    example
)]
pub(crate) struct CreateDeployment {
    /// The module to roll out.
    pub module_name: String,
    /// The version to roll out; absent: the highest that was uploaded.
    pub version: Option<String>,
    /// Where to: the environment whose nodes get it.
    pub target_environment: String,
    /// The address of the person who asks.
    pub requester_email: String,
    /// What it is for; at most 4096 bytes.
    pub description: Option<String>,
    /// Whatever is to be found with it later; at most 64 entries of 1024 bytes.
    #[serde(default)]
    #[oai(default)]
    pub metadata: BTreeMap<String, String>,
    /// Whether a person has to approve it before it begins.
    #[serde(default)]
    #[oai(default)]
    pub require_approval: bool,
    /// By which strategy; absent: the environment's default.
    pub strategy: Option<String>,
    /// The strategy's configuration, as its schema says; what is absent has its default.
    pub config: Option<serde_json::Value>,
}

impl CreateDeployment {
    /// What it asks of the engine, or everything that is wrong with it.
    pub fn check(self, by: &Identity, trace: Option<String>) -> Result<NewDeployment, Problem> {
        let mut errors = Vec::new();
        let module = read("/moduleName", &self.module_name, &mut errors);
        let environment = read("/targetEnvironment", &self.target_environment, &mut errors);
        let version = read_some("/version", self.version.as_deref(), &mut errors);
        let strategy = read_some("/strategy", self.strategy.as_deref(), &mut errors);
        check_email("/requesterEmail", &self.requester_email, &mut errors);
        check_text("/description", self.description.as_deref(), &mut errors);
        check_metadata(&self.metadata, &mut errors);
        if self
            .config
            .as_ref()
            .is_some_and(|config| !config.is_object())
        {
            errors.push(FieldError::at("/config", "it is an object"));
        }
        let (Some(module), Some(environment), true) = (module, environment, errors.is_empty())
        else {
            return Err(invalid(errors));
        };
        Ok(NewDeployment {
            module,
            version,
            environment,
            strategy,
            config: self.config,
            requester: requester(by, self.requester_email),
            description: self.description,
            metadata: self.metadata,
            require_approval: self.require_approval,
            trace,
        })
    }
}

/// Who asks, by the address that they give and the token that they show.
pub(super) fn requester(by: &Identity, email: String) -> Requester {
    Requester {
        email,
        subject: by.subject.clone(),
    }
}

/// A problem of all these.
pub(super) fn invalid(errors: Vec<FieldError>) -> Problem {
    let detail = match &*errors {
        [only] => {
            let pointer = only.pointer.as_deref().unwrap_or_default();
            format!("{pointer}: {}", only.detail)
        }
        several => format!("{} parts of the body are wrong; see errors", several.len()),
    };
    Problem::new(Kind::InvalidRequest, detail).with_errors(errors)
}

pub(super) fn read<T: FromStr<Err: Display>>(
    pointer: &str,
    text: &str,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    let read = text.parse();
    read.map_err(|error| errors.push(FieldError::at(pointer, error)))
        .ok()
}

pub(super) fn read_some<T: FromStr<Err: Display>>(
    pointer: &str,
    text: Option<&str>,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    text.and_then(|text| read(pointer, text, errors))
}

/// That an answer could be sent there is for the answer to find out; that it is one line
/// with an `@` in it keeps the journal readable.
pub(super) fn check_email(pointer: &str, email: &str, errors: &mut Vec<FieldError>) {
    let (name, host) = email.split_once('@').unwrap_or_default();
    let plain = email.chars().all(|c| !c.is_control() && !c.is_whitespace());
    if name.is_empty() || host.is_empty() || !plain || email.len() > LONGEST_EMAIL {
        errors.push(FieldError::at(
            pointer,
            "it is an address such as ada@example.org",
        ));
    }
}

pub(super) fn check_text(pointer: &str, text: Option<&str>, errors: &mut Vec<FieldError>) {
    if text.is_some_and(|text| text.len() > LONGEST_TEXT) {
        let detail = format!("it has at most {LONGEST_TEXT} bytes");
        errors.push(FieldError::at(pointer, detail));
    }
}

fn check_metadata(metadata: &BTreeMap<String, String>, errors: &mut Vec<FieldError>) {
    if metadata.len() > MOST_METADATA {
        let detail = format!("it has at most {MOST_METADATA} entries");
        errors.push(FieldError::at("/metadata", detail));
        return;
    }
    for (name, value) in metadata {
        if name.is_empty() || name.len() + value.len() > LONGEST_METADATA {
            let detail =
                format!("an entry has a name, and at most {LONGEST_METADATA} bytes with its value");
            let name: String = name.chars().take(80).collect();
            let name = name.replace('~', "~0").replace('/', "~1");
            errors.push(FieldError::at(format!("/metadata/{name}"), detail));
        }
    }
}

impl Example for CreateDeployment {
    fn example() -> Self {
        Self {
            module_name: "checkout".to_owned(),
            version: Some("1.4.2".to_owned()),
            target_environment: "production".to_owned(),
            requester_email: "ada@example.org".to_owned(),
            description: Some("faster totals".to_owned()),
            metadata: BTreeMap::from([("ticket".to_owned(), "SHOP-318".to_owned())]),
            require_approval: false,
            strategy: Some("canary".to_owned()),
            config: Some(serde_json::json!({ "steps": [10, 50], "soak": "5m" })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Role;

    fn ada() -> Identity {
        Identity {
            subject: "ada".to_owned(),
            role: Role::Operator,
            expires_at: None,
        }
    }

    #[test]
    fn the_example_is_right() {
        let new = CreateDeployment::example().check(&ada(), None).unwrap();
        assert_eq!(new.module.as_str(), "checkout");
        assert_eq!(new.requester.email, "ada@example.org");
        assert_eq!(new.requester.subject, "ada");
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let body = CreateDeployment {
            module_name: "Check out".to_owned(),
            version: Some("newest".to_owned()),
            target_environment: String::new(),
            requester_email: "ada".to_owned(),
            description: Some("x".repeat(5000)),
            metadata: BTreeMap::from([("a/b".to_owned(), "x".repeat(2000))]),
            require_approval: false,
            strategy: Some("../canary".to_owned()),
            config: Some(serde_json::json!([])),
        };
        let problem = body.check(&ada(), None).unwrap_err();
        let response = format!("{problem:?}");
        for pointer in [
            "/moduleName",
            "/version",
            "/targetEnvironment",
            "/requesterEmail",
            "/description",
            "/metadata/a~1b",
            "/strategy",
            "/config",
        ] {
            assert!(response.contains(pointer), "{pointer}: {response}");
        }
    }
}
