//! A problem as JSON.

use std::fmt::Display;

use poem_openapi::Object;

/// Why a request failed, as RFC 9457 defines it.
//
// Not `hotswap_protocol::Problem` with more fields: poem-openapi would register both as the
// schema `Problem`, and panics on two types of one name.
#[derive(Debug, Clone, Object)]
#[oai(
    rename = "Problem",
    skip_serializing_if_is_none,
    skip_serializing_if_is_empty
)]
pub(super) struct ProblemBody {
    /// The kind of problem, for programs: `urn:hotswap:problem:` and a name that never
    /// changes its meaning.
    #[oai(rename = "type")]
    pub kind: String,
    /// The kind of problem, for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, and what to do about it.
    pub detail: String,
    /// The parts of the request that are wrong. Absent if no part can be named.
    pub errors: Vec<FieldError>,
    /// The id of the deployment that prevents the request, if one does.
    pub deployment: Option<String>,
    /// The id of the request. The header `x-request-id` and the engine's log have the same id.
    pub request_id: String,
}

/// A part of the request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(skip_serializing_if_is_none)]
pub(crate) struct FieldError {
    /// The place in the body, as a JSON pointer (RFC 6901).
    pub pointer: Option<String>,
    /// The name of the parameter in the path, the query or the headers.
    pub parameter: Option<String>,
    /// What is wrong with it.
    pub detail: String,
}

impl FieldError {
    /// An error in the body.
    pub fn in_body(pointer: impl Into<String>, detail: impl Display) -> Self {
        Self {
            pointer: Some(pointer.into()),
            parameter: None,
            detail: detail.to_string(),
        }
    }

    /// An error in a parameter.
    pub fn in_parameter(parameter: impl Into<String>, detail: impl Display) -> Self {
        Self {
            pointer: None,
            parameter: Some(parameter.into()),
            detail: detail.to_string(),
        }
    }
}
