use poem_openapi::Object;
use serde::{Deserialize, Serialize};

/// Why a request failed, as RFC 9457 defines it.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(skip_serializing_if_is_none)]
pub struct Problem {
    /// Which kind of problem: `urn:hotswap:problem:` and a name that never changes, as
    /// `fenced`.
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind, for a person.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, and what to do about it.
    pub detail: String,
}

impl Problem {
    /// The media type of a problem in JSON.
    pub const MEDIA_TYPE: &str = "application/problem+json";

    /// A problem of the kind `urn:hotswap:problem:{name}`.
    pub fn new(status: u16, name: &str, title: &str, detail: String) -> Self {
        Self {
            kind: format!("urn:hotswap:problem:{name}"),
            title: title.to_owned(),
            status,
            detail,
        }
    }
}
