use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use poem_openapi::Object;
use serde::{Deserialize, Serialize};

/// The media type of RFC 9457.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was not done, as RFC 9457 has it.
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
    /// Of the kind `urn:hotswap:problem:{name}`.
    pub(crate) fn new(status: StatusCode, name: &str, title: &str, detail: String) -> Self {
        Self {
            kind: format!("urn:hotswap:problem:{name}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail,
        }
    }

    /// The whole answer. One with status 503 says when to come back.
    pub(crate) fn answer(&self) -> http::Response<Bytes> {
        // An object of strings and a number always serialises.
        let body = serde_json::to_vec(self).unwrap_or_default();
        let mut answer = http::Response::new(Bytes::from(body));
        *answer.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }
}
