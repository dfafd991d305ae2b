//! Failures as clients see them: problem documents (RFC 9457), whatever failed.
//!
//! Every failure becomes a [`Problem`]: those of the engine in `engine_error`, those of poem
//! in `poem_error`. [`Failure`] lists in the OpenAPI document which statuses an operation
//! can answer.

mod body;
mod engine_error;
mod failure;
mod kind;
mod poem_error;

use std::fmt;

use hotswap_core::DeploymentId;
use poem::Response;
use poem::error::ResponseError;
use poem::http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use poem::http::{HeaderValue, StatusCode};
use poem_openapi::types::ToJSON;

pub(crate) use body::FieldError;
use body::ProblemBody;
pub(crate) use failure::{
    AUTH, BAD_REQUEST, CONFLICT, DISK_FULL, Failure, JSON_BODY, NOT_FOUND, PRECONDITION_FAILED,
    RANGE_NOT_SATISFIABLE, UNAVAILABLE, UPLOAD,
};
pub(crate) use kind::Kind;
pub(crate) use poem_error::from_poem;

/// The media type of a problem.
const MEDIA_TYPE: &str = hotswap_protocol::Problem::MEDIA_TYPE;

/// A failure, not yet written as a response.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    kind: Kind,
    detail: String,
    errors: Vec<FieldError>,
    deployment: Option<DeploymentId>,
    allow: Option<String>,
    cause: Option<String>,
    closes: bool,
}

impl Problem {
    /// A problem of this kind. `detail` tells a person what happened and what to do next.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            deployment: None,
            allow: None,
            cause: None,
            closes: false,
        }
    }

    /// A fault of the engine. The client sees nothing of it but the kind and the request id.
    pub fn internal() -> Self {
        Self::new(Kind::Internal, "")
    }

    /// The request has no token.
    pub fn no_token() -> Self {
        let detail = "the request has no token; send the header Authorization: Bearer <token>";
        Self::new(Kind::Unauthorized, detail)
    }

    /// Adds the parts of the request that are wrong.
    pub fn with_errors(self, errors: Vec<FieldError>) -> Self {
        Self { errors, ..self }
    }

    /// Adds the deployment that prevents the request.
    pub fn with_deployment(self, deployment: DeploymentId) -> Self {
        let deployment = Some(deployment);
        Self { deployment, ..self }
    }

    /// Adds the header `Allow` with these methods.
    pub fn with_allow(self, methods: impl Into<String>) -> Self {
        let allow = Some(methods.into());
        Self { allow, ..self }
    }

    /// Closes the connection after the response, so that the client's next request takes another
    /// one.
    pub fn with_close(self) -> Self {
        Self {
            closes: true,
            ..self
        }
    }

    /// Adds the error that caused the problem. It goes to the log, never to the client.
    pub fn with_cause(self, error: &(dyn std::error::Error + 'static)) -> Self {
        let cause = Some(error_chain(error));
        Self { cause, ..self }
    }

    /// The cause to log, if there is one beyond what the client sees.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The response to the request with this id.
    pub fn response(&self, request_id: &str) -> Response {
        let (name, status, title) = self.kind.parts();
        let detail = match self.kind {
            Kind::Internal => "the engine failed; find the cause in its log by this request id",
            _ => &self.detail,
        };
        let body = ProblemBody {
            kind: format!("urn:hotswap:problem:{name}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.to_owned(),
            errors: self.errors.clone(),
            deployment: self.deployment.map(|id| id.to_string()),
            request_id: request_id.to_owned(),
        };
        let mut response = Response::builder()
            .status(status)
            .body(body.to_json_string());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        if self.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(allow) = self.allow.as_deref()
            && let Ok(allow) = HeaderValue::from_str(allow)
        {
            headers.insert(ALLOW, allow);
        }
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.kind.parts().1
    }

    fn as_response(&self) -> Response {
        self.response("")
    }
}

/// An error and its sources, separated by colons.
fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
