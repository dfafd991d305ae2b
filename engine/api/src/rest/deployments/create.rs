use std::collections::BTreeMap;

use hotswap_core::{IdempotencyKey, parse_version};
use hotswap_runner::NewDeployment;
use poem_openapi::Object;
use poem_openapi::types::Example;
use serde::Deserialize;

use super::validation::{
    check_email, check_metadata, check_text, invalid_body, parse, parse_optional, parse_with,
    requester,
};
use crate::auth::Identity;
use crate::problem::{FieldError, Problem};

/// A request for a new deployment.
#[derive(Debug, Clone, PartialEq, Deserialize, Object)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[oai(
    rename_all = "camelCase",
    deny_unknown_fields,
    skip_serializing_if_is_none,
    example
)]
pub(super) struct CreateDeployment {
    /// The module to roll out.
    pub module_name: String,
    /// The version to roll out. Absent: the newest that is not a pre-release.
    pub version: Option<String>,
    /// The environment whose nodes get the version.
    pub target_environment: String,
    /// The nodes of the environment that get the version, as a label selector of at most 1024
    /// bytes: `zone=eu,tier!=edge`. Absent: all of them.
    pub selector: Option<String>,
    /// The email address of the person who requests the deployment.
    pub requester_email: String,
    /// A description for people, of at most 4096 bytes.
    pub description: Option<String>,
    /// Any data to store with the deployment: at most 64 entries, each of at most 1024 bytes.
    #[serde(default)]
    #[oai(default)]
    pub metadata: BTreeMap<String, String>,
    /// Whether a person must approve the deployment before it starts.
    #[serde(default)]
    #[oai(default)]
    pub require_approval: bool,
    /// Whether an open deployment of the module in the environment is aborted for this one,
    /// which begins once that one has ended. Of those that wait for the same one, the last
    /// request counts: the others end without having begun.
    #[serde(default)]
    #[oai(default)]
    pub supersede: bool,
    /// The name of the strategy. Absent: the default strategy of the environment.
    pub strategy: Option<String>,
    /// The configuration of the strategy, as its schema describes it. Absent fields get their
    /// defaults.
    pub config: Option<serde_json::Value>,
}

impl CreateDeployment {
    /// Validates the body.
    ///
    /// # Errors
    /// A 422 that lists everything that is wrong.
    pub fn validate(
        self,
        identity: &Identity,
        idempotency_key: Option<IdempotencyKey>,
    ) -> Result<NewDeployment, Problem> {
        let mut errors = Vec::new();
        let module = parse("/moduleName", &self.module_name, &mut errors);
        let environment = parse("/targetEnvironment", &self.target_environment, &mut errors);
        let version = self.version.as_deref();
        let version =
            version.and_then(|text| parse_with(parse_version, "/version", text, &mut errors));
        let selector = parse_optional("/selector", self.selector.as_deref(), &mut errors);
        let strategy = parse_optional("/strategy", self.strategy.as_deref(), &mut errors);
        check_email("/requesterEmail", &self.requester_email, &mut errors);
        check_text("/description", self.description.as_deref(), &mut errors);
        check_metadata(&self.metadata, &mut errors);
        if self
            .config
            .as_ref()
            .is_some_and(|config| !config.is_object())
        {
            errors.push(FieldError::in_body("/config", "must be an object"));
        }
        let (Some(module), Some(environment), true) = (module, environment, errors.is_empty())
        else {
            return Err(invalid_body(errors));
        };
        Ok(NewDeployment {
            module,
            version,
            environment,
            selector,
            strategy,
            config: self.config,
            requester: requester(identity, self.requester_email),
            description: self.description,
            metadata: self.metadata,
            require_approval: self.require_approval,
            supersede: self.supersede,
            idempotency_key,
        })
    }
}

impl Example for CreateDeployment {
    fn example() -> Self {
        Self {
            module_name: "checkout".to_owned(),
            version: Some("1.4.2".to_owned()),
            target_environment: "production".to_owned(),
            selector: Some("zone=eu,tier!=edge".to_owned()),
            requester_email: "ada@example.org".to_owned(),
            description: Some("faster totals".to_owned()),
            metadata: BTreeMap::from([("ticket".to_owned(), "SHOP-318".to_owned())]),
            require_approval: false,
            supersede: false,
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
    fn the_example_is_valid() {
        let deployment = CreateDeployment::example().validate(&ada(), None).unwrap();
        assert_eq!(deployment.module.as_str(), "checkout");
        assert_eq!(deployment.requester.email, "ada@example.org");
        assert_eq!(deployment.requester.subject, "ada");
    }

    #[test]
    fn all_errors_are_reported_at_once() {
        let body = CreateDeployment {
            module_name: "Check out".to_owned(),
            version: Some("newest".to_owned()),
            target_environment: String::new(),
            selector: Some("zone=eu,".to_owned()),
            requester_email: "ada".to_owned(),
            description: Some("x".repeat(5000)),
            metadata: BTreeMap::from([("a/b".to_owned(), "x".repeat(2000))]),
            require_approval: false,
            supersede: false,
            strategy: Some("../canary".to_owned()),
            config: Some(serde_json::json!([])),
        };
        let problem = body.validate(&ada(), None).unwrap_err();
        let problem = format!("{problem:?}");
        for pointer in [
            "/moduleName",
            "/version",
            "/targetEnvironment",
            "/selector",
            "/requesterEmail",
            "/description",
            "/metadata/a~1b",
            "/strategy",
            "/config",
        ] {
            assert!(problem.contains(pointer), "{pointer}: {problem}");
        }
    }
}
