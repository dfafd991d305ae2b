//! The body of a request to drain a node.

use poem_openapi::Object;
use serde::Deserialize;

use crate::auth::Identity;
use crate::problem::Problem;
use crate::rest::deployments::name_and_reason;

/// A request to drain a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Object)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[oai(
    rename = "Drain",
    rename_all = "camelCase",
    deny_unknown_fields,
    skip_serializing_if_is_none
)]
pub(super) struct DrainRequest {
    /// The reason, of at most 4096 bytes. It becomes part of the environment's events.
    pub reason: Option<String>,
    /// Whether to drain the node even if more nodes are then unavailable than `maxUnavailable`
    /// allows.
    #[oai(default)]
    pub force: bool,
    /// The email address of the person who makes the request. Give it if several people share
    /// the API token; a signed token already names its owner.
    pub requester_email: Option<String>,
}

impl DrainRequest {
    /// Validates the body, and returns the name to journal and the reason.
    ///
    /// # Errors
    /// A 422 that lists everything that is wrong.
    pub fn validate(self, identity: &Identity) -> Result<(String, Option<String>), Problem> {
        name_and_reason(self.requester_email, self.reason, identity)
    }
}
