use hotswap_core::{Decision, Requester, StrategyName};
use poem_openapi::Object;
use serde::Deserialize;

use super::create::{check_email, check_text, invalid, read_some, requester};
use crate::auth::Identity;
use crate::problem::Problem;

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Object)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[oai(
    rename_all = "camelCase",
    deny_unknown_fields,
    skip_serializing_if_is_none
)]
pub(crate) struct By {
    /// The address of the person who asks. A signed token alone tells who; the address is
    /// for those that share the API token.
    pub requester_email: Option<String>,
}

/// A deployment is to end, and its nodes to be put back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Object)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[oai(
    rename_all = "camelCase",
    deny_unknown_fields,
    skip_serializing_if_is_none
)]
pub(crate) struct Abort {
    /// Why; at most 4096 bytes. Whoever looks later reads it as the deployment's cause.
    pub reason: Option<String>,
    /// The address of the person who asks. A signed token alone tells who; the address is
    /// for those that share the API token.
    pub requester_email: Option<String>,
}

/// What a person decides.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Object)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[oai(
    rename_all = "camelCase",
    deny_unknown_fields,
    skip_serializing_if_is_none
)]
pub(crate) struct Approval {
    /// Whether it goes on; where not, it ends and its nodes are put back.
    pub approved: bool,
    /// What they say of it; at most 4096 bytes.
    pub comment: Option<String>,
    /// The address of the person who decides. A signed token alone tells who; the address
    /// is for those that share the API token.
    pub requester_email: Option<String>,
}

/// The version before is to run again.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Object)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[oai(
    rename_all = "camelCase",
    deny_unknown_fields,
    skip_serializing_if_is_none
)]
pub(crate) struct Rollback {
    /// By which strategy; absent: `direct`, all nodes at once.
    pub strategy: Option<String>,
    /// The strategy's configuration; what is absent has its default.
    pub config: Option<serde_json::Value>,
    /// The address of the person who asks. A signed token alone tells who; the address is
    /// for those that share the API token.
    pub requester_email: Option<String>,
}

impl By {
    /// Who it was, for the journal.
    pub fn check(self, by: &Identity) -> Result<String, Problem> {
        checked(by, self.requester_email, None)
    }
}

impl Abort {
    /// Who it was, and why.
    pub fn check(self, by: &Identity) -> Result<(String, Option<String>), Problem> {
        let by = checked(
            by,
            self.requester_email,
            self.reason.as_deref().map(|text| ("/reason", text)),
        )?;
        Ok((by, self.reason))
    }
}

impl Approval {
    /// The decision, for the journal.
    pub fn check(self, by: &Identity) -> Result<Decision, Problem> {
        let comment = self.comment.as_deref().map(|text| ("/comment", text));
        Ok(Decision {
            approved: self.approved,
            by: checked(by, self.requester_email, comment)?,
            comment: self.comment,
        })
    }
}

impl Rollback {
    /// Who asks, and how it is to go.
    pub fn check(
        self,
        by: &Identity,
    ) -> Result<(Requester, Option<StrategyName>, Option<serde_json::Value>), Problem> {
        let mut errors = Vec::new();
        let strategy = read_some("/strategy", self.strategy.as_deref(), &mut errors);
        if !errors.is_empty() {
            return Err(invalid(errors));
        }
        check(self.requester_email.as_deref(), None)?;
        let email = self.requester_email.unwrap_or_else(|| by.subject.clone());
        Ok((requester(by, email), strategy, self.config))
    }
}

/// Who it was, for the journal, where address and text are what they may be.
fn checked(
    by: &Identity,
    email: Option<String>,
    text: Option<(&str, &str)>,
) -> Result<String, Problem> {
    check(email.as_deref(), text)?;
    Ok(by.name(email))
}

fn check(email: Option<&str>, text: Option<(&str, &str)>) -> Result<(), Problem> {
    let mut errors = Vec::new();
    if let Some(email) = email {
        check_email("/requesterEmail", email, &mut errors);
    }
    if let Some((pointer, text)) = text {
        check_text(pointer, Some(text), &mut errors);
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(invalid(errors))
    }
}
