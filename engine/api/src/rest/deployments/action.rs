//! The bodies of requests that change a deployment.

use hotswap_core::{Decision, Environment, IdempotencyKey, ModuleName, Requester, parse_version};
use hotswap_runner::{NewRetry, NewRollback, NewUndo, UndoTarget};
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

/// A request whose reason is kept: to abort or terminate a deployment, to retire a
/// module, or to cordon, uncordon or delete a node.
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
    /// The `waitId` of what is decided. If the deployment waits for something else by now, the
    /// answer is 409. Absent: what it waits for when the request arrives.
    pub wait: Option<String>,
    /// The email address of the person who decides. Give it if several people share the API
    /// token; a signed token already names its owner.
    pub requester_email: Option<String>,
}

/// A request to end the wait of a deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Object)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[oai(
    rename = "Promotion",
    rename_all = "camelCase",
    deny_unknown_fields,
    skip_serializing_if_is_none
)]
pub(super) struct PromoteRequest {
    /// Whether every later sleep and soak ends at once too.
    #[serde(default)]
    #[oai(default)]
    pub full: bool,
    /// The reason, of at most 4096 bytes. It becomes part of the deployment's events.
    pub reason: Option<String>,
    /// The `waitId` of what is ended. If the deployment waits for something else by now, the
    /// answer is 409. Absent: what it waits for when the request arrives.
    pub wait: Option<String>,
    /// The email address of the person who makes the request. Give it if several people share
    /// the API token; a signed token already names its owner.
    pub requester_email: Option<String>,
}

/// A request to try a deployment again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Object)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[oai(
    rename = "Rerun",
    rename_all = "camelCase",
    deny_unknown_fields,
    skip_serializing_if_is_none
)]
pub(in crate::rest) struct RetryRequest {
    /// The email address of the person who makes the request. Give it if several people share
    /// the API token; a signed token already names its owner.
    pub requester_email: Option<String>,
}

/// A request to go back to an earlier success.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Object)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[oai(
    rename = "Undo",
    rename_all = "camelCase",
    deny_unknown_fields,
    skip_serializing_if_is_none
)]
pub(in crate::rest) struct UndoRequest {
    /// The success to go back to: its version, for the last success of that, or its execution
    /// id. Absent: the last success of another version than the present one.
    pub to: Option<String>,
    /// The email address of the person who makes the request. Give it if several people share
    /// the API token; a signed token already names its owner.
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
pub(in crate::rest) struct RollbackRequest {
    /// The version to deploy. Absent: the version that all nodes ran before; if they ran
    /// different versions, the version of the last successful deployment before.
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

impl PromoteRequest {
    /// Validates the body, and returns the name to journal, the reason, and whether every wait
    /// ends.
    ///
    /// # Errors
    /// A 422 that lists everything that is wrong.
    pub fn validate(self, identity: &Identity) -> Result<(String, Option<String>, bool), Problem> {
        let (by, reason) = name_and_reason(self.requester_email, self.reason, identity)?;
        Ok((by, reason, self.full))
    }
}

impl RetryRequest {
    /// Validates the body.
    ///
    /// # Errors
    /// A 422 that lists everything that is wrong.
    pub fn validate(
        self,
        identity: &Identity,
        idempotency_key: Option<IdempotencyKey>,
    ) -> Result<NewRetry, Problem> {
        check(self.requester_email.as_deref(), None)?;
        Ok(NewRetry {
            requester: requester_or_subject(identity, self.requester_email),
            idempotency_key,
        })
    }
}

impl UndoRequest {
    /// Validates the body.
    ///
    /// # Errors
    /// A 422 that lists everything that is wrong.
    pub fn validate(
        self,
        (environment, module): (Environment, ModuleName),
        identity: &Identity,
        idempotency_key: Option<IdempotencyKey>,
    ) -> Result<NewUndo, Problem> {
        let mut errors = Vec::new();
        let to = self.to.as_deref();
        let to = to.and_then(|text| parse_with(parse_undo_target, "/to", text, &mut errors));
        if let Some(email) = self.requester_email.as_deref() {
            check_email("/requesterEmail", email, &mut errors);
        }
        require_none(errors)?;
        Ok(NewUndo {
            module,
            environment,
            requester: requester_or_subject(identity, self.requester_email),
            to,
            idempotency_key,
        })
    }
}

/// A version, or the id of a deployment.
fn parse_undo_target(text: &str) -> Result<UndoTarget, String> {
    if let Ok(id) = text.parse() {
        return Ok(UndoTarget::Deployment(id));
    }
    let version = parse_version(text).map(UndoTarget::Version);
    version.map_err(|error| format!("{error}, or be the execution id of a deployment"))
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
        Ok(NewRollback {
            requester: requester_or_subject(identity, self.requester_email),
            to,
            strategy,
            config: self.config,
            idempotency_key,
        })
    }
}

fn requester_or_subject(identity: &Identity, email: Option<String>) -> Requester {
    requester(identity, email.unwrap_or_else(|| identity.subject.clone()))
}

/// Checks both, and returns the name to journal and the reason.
///
/// # Errors
/// A 422 that lists everything that is wrong.
pub(in crate::rest) fn name_and_reason(
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
