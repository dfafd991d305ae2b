use poem_openapi::Object;
use serde::{Deserialize, Serialize};

/// Why a request failed, in the format of RFC 9457.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(skip_serializing_if_is_none)]
pub struct Problem {
    /// Type of the problem, for programs: `urn:hotswap:problem:` and a name that never
    /// changes, such as `fenced`.
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    pub kind: String,
    /// Type of the problem, for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, and what to do about it.
    pub detail: String,
    /// For `fenced`: the highest fence that the node has seen for the module.
    #[oai(rename = "highestFence")]
    #[serde(
        rename = "highestFence",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub highest_fence: Option<u64>,
}

impl Problem {
    /// Media type of a problem in JSON.
    pub const MEDIA_TYPE: &str = "application/problem+json";

    /// Name of the problem of a request that came without a client certificate.
    pub const CLIENT_CERTIFICATE: &str = "client-certificate";

    /// Creates a problem of the type `urn:hotswap:problem:{name}`.
    pub fn new(status: u16, name: &str, title: &str, detail: String) -> Self {
        Self {
            kind: format!("urn:hotswap:problem:{name}"),
            title: title.to_owned(),
            status,
            detail,
            highest_fence: None,
        }
    }
}
