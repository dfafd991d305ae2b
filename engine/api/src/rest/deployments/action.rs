//! The bodies of requests that change a deployment.

use hotswap_core::{Decision, IdempotencyKey, parse_version};
use hotswap_runner::NewRollback;
use poem_openapi::Object;
use serde::Deserialize;

use super::validation::{
    check_email, check_text, parse_optional, parse_with, requester, require_none,
};
use crate::auth::Identity;
use crate::problem::Problem;

/// Who pauses or resumes a deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Object)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[oai(
    rename = "By",
    rename_all = "camelCase",
    deny_unknown_fields,
    skip_serializing_if_is_none
)]
pub(super) struct PauseRequest {
    /// The email address of the person who makes the request. Give it if several people share
    /// the API token; a signed token already names its owner.
    pub requester_email: Option<String>,
}

/// A request of which the reason is kept: to abort or terminate a deployment, or to retire a
/// module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Object)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[oai(
    rename = "Reason",
    rename_all = "camelCase",
    deny_unknown_fields,
    skip_serializing_if_is_none
)]
pub(in crate::rest) struct ReasonRequest {
    /// The reason, of at most 4096 bytes. It becomes part of the deployment's `cause`, or of
    /// the environment's events.
    pub reason: Option<String>,
    /// The email address of the person who makes the request. Give it if several people share
    /// the API token; a signed token already names its owner.
    pub requester_email: Option<String>,
}

/// A person's decision about a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Object)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[oai(
    rename = "Approval",
    rename_all = "camelCase",
    deny_unknown_fields,
    skip_serializing_if_is_none
)]
pub(super) struct ApprovalRequest {
    /// Whether the deployment may continue. If `false`, it ends and its nodes are reverted.
    pub approved: bool,
    /// A comment, of at most 4096 bytes.
    pub comment: Option<String>,
    /// The email address of the person who decides. Give it if several people share the API
    /// token; a signed token already names its owner.
    pub requester_email: Option<String>,
}

/// A request to deploy the previous version again.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Object)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[oai(
    rename = "Rollback",
    rename_all = "camelCase",
    deny_unknown_fields,
    skip_serializing_if_is_none
)]
pub(super) struct RollbackRequest {
    /// The version to deploy. Absent: the version that all nodes ran before; if they ran
    /// different versions, that of the last successful deployment before.
    pub to: Option<String>,
    /// The name of the strategy. Absent: `direct`, which changes all nodes at once.
    pub strategy: Option<String>,
    /// The configuration of the strategy. Absent fields get their defaults.
    pub config: Option<serde_json::Value>,
    /// The email address of the person who makes the request. Give it if several people share
    /// the API token; a signed token already names its owner.
    pub requester_email: Option<String>,
}

impl PauseRequest {
    /// Validates the body, and returns the name to journal.
    ///
    /// # Errors
    /// A 422 that lists everything that is wrong.
    pub fn validate(self, identity: &Identity) -> Result<String, Problem> {
        check(self.requester_email.as_deref(), None)?;
        Ok(identity.name(self.requester_email))
    }
}

impl ReasonRequest {
    /// Validates the body, and returns the name to journal and the reason.
    ///
    /// # Errors
    /// A 422 that lists everything that is wrong.
    pub fn validate(self, identity: &Identity) -> Result<(String, Option<String>), Problem> {
        name_and_reason(self.requester_email, self.reason, identity)
    }
}

impl ApprovalRequest {
    /// Validates the body, and returns the decision to journal.
    ///
    /// # Errors
    /// A 422 that lists everything that is wrong.
    pub fn validate(self, identity: &Identity) -> Result<Decision, Problem> {
        let comment = self.comment.as_deref().map(|text| ("/comment", text));
        check(self.requester_email.as_deref(), comment)?;
        Ok(Decision {
            approved: self.approved,
            by: identity.name(self.requester_email),
            comment: self.comment,
        })
    }
}

impl RollbackRequest {
    /// Validates the body.
    ///
    /// # Errors
    /// A 422 that lists everything that is wrong.
    pub fn validate(
        self,
        identity: &Identity,
        idempotency_key: Option<IdempotencyKey>,
    ) -> Result<NewRollback, Problem> {
        let mut errors = Vec::new();
        let to = self.to.as_deref();
        let to = to.and_then(|text| parse_with(parse_version, "/to", text, &mut errors));
        let strategy = parse_optional("/strategy", self.strategy.as_deref(), &mut errors);
        if let Some(email) = self.requester_email.as_deref() {
            check_email("/requesterEmail", email, &mut errors);
        }
        require_none(errors)?;
        let email = self
            .requester_email
            .unwrap_or_else(|| identity.subject.clone());
        Ok(NewRollback {
            requester: requester(identity, email),
            to,
            strategy,
            config: self.config,
            idempotency_key,
        })
    }
}

fn name_and_reason(
    email: Option<String>,
    reason: Option<String>,
    identity: &Identity,
) -> Result<(String, Option<String>), Problem> {
    let text = reason.as_deref().map(|text| ("/reason", text));
    check(email.as_deref(), text)?;
    Ok((identity.name(email), reason))
}

/// Checks an address, and a text at a JSON pointer.
fn check(email: Option<&str>, text: Option<(&str, &str)>) -> Result<(), Problem> {
    let mut errors = Vec::new();
    if let Some(email) = email {
        check_email("/requesterEmail", email, &mut errors);
    }
    if let Some((pointer, text)) = text {
        check_text(pointer, Some(text), &mut errors);
    }
    require_none(errors)
}
