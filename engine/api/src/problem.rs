//! Failures as clients see them: problems (RFC 9457), whatever went wrong and wherever.

use std::fmt;

use hotswap_core::DeploymentId;
use poem::Response;
use poem::error::ResponseError;
use poem::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use poem::http::{HeaderValue, StatusCode};
use poem_openapi::Object;
use poem_openapi::types::ToJSON;

mod domain;
mod failure;
mod foreign;

pub(crate) use failure::{
    AUTH, CONFLICT, Failure, INVALID, MEDIA, MISSING, SLOW, TOO_LARGE, UNAVAILABLE, UNPROCESSABLE,
};
pub(crate) use foreign::from_poem;

/// What content a problem is.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// A problem before it is written.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    kind: Kind,
    detail: String,
    errors: Vec<FieldError>,
    deployment: Option<DeploymentId>,
    allow: Option<String>,
    cause: Option<String>,
}

/// The kinds of problems. Their slugs are part of the API: they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    BadRequest,
    Unauthorized,
    TokenExpired,
    Forbidden,
    UnknownRoute,
    UnknownDeployment,
    UnknownModule,
    UnknownStrategy,
    UnknownCluster,
    UnknownNode,
    UnknownArtifact,
    UnknownConnection,
    MethodNotAllowed,
    Slow,
    ConnectionInUse,
    DeploymentRunning,
    IllegalState,
    NothingBefore,
    NoNodes,
    VersionTaken,
    BuiltInStrategy,
    PayloadTooLarge,
    UnsupportedMediaType,
    InvalidRequest,
    InvalidConfig,
    NotAModule,
    NotAStrategy,
    TooManyConnections,
    Internal,
    Unavailable,
    TimedOut,
}

/// What went wrong, as RFC 9457 writes it.
#[derive(Debug, Clone, Object)]
#[oai(
    rename = "Problem",
    skip_serializing_if_is_none,
    skip_serializing_if_is_empty
)]
pub(crate) struct ProblemBody {
    /// Which kind of problem it is, for programs: `urn:hotswap:problem:` and a word that
    /// never changes its meaning.
    #[oai(rename = "type")]
    pub kind: String,
    /// The kind in a few words, for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, and what to do about it.
    pub detail: String,
    /// Each part of the request that is wrong, where there are such.
    pub errors: Vec<FieldError>,
    /// The deployment that is in the way, where one is.
    pub deployment: Option<String>,
    /// The request's id, as in the header `x-request-id` and in the engine's log.
    pub request_id: String,
}

/// A part of the request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(skip_serializing_if_is_none)]
pub(crate) struct FieldError {
    /// Where in the body: a JSON pointer (RFC 6901).
    pub pointer: Option<String>,
    /// Which parameter of the path, the query or the header.
    pub parameter: Option<String>,
    /// What is wrong with it.
    pub detail: String,
}

impl Kind {
    fn parts(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::BadRequest => ("bad-request", S::BAD_REQUEST, "The request cannot be read"),
            Self::Unauthorized => ("unauthorized", S::UNAUTHORIZED, "A token is required"),
            Self::TokenExpired => ("token-expired", S::UNAUTHORIZED, "The token has expired"),
            Self::Forbidden => ("forbidden", S::FORBIDDEN, "The token does not allow this"),
            Self::UnknownRoute => ("unknown-route", S::NOT_FOUND, "There is nothing here"),
            Self::UnknownDeployment => ("unknown-deployment", S::NOT_FOUND, "No such deployment"),
            Self::UnknownModule => ("unknown-module", S::NOT_FOUND, "No such module or version"),
            Self::UnknownStrategy => ("unknown-strategy", S::NOT_FOUND, "No such strategy"),
            Self::UnknownCluster => ("unknown-cluster", S::NOT_FOUND, "No such environment"),
            Self::UnknownNode => ("unknown-node", S::NOT_FOUND, "No such node"),
            Self::UnknownArtifact => ("unknown-artifact", S::NOT_FOUND, "No such artifact"),
            Self::UnknownConnection => ("unknown-connection", S::NOT_FOUND, "No such connection"),
            Self::ConnectionInUse => ("connection-in-use", S::CONFLICT, "The connection is in use"),
            Self::TooManyConnections => (
                "too-many-connections",
                S::TOO_MANY_REQUESTS,
                "There are too many connections",
            ),
            Self::MethodNotAllowed => (
                "method-not-allowed",
                S::METHOD_NOT_ALLOWED,
                "The method does not apply here",
            ),
            Self::Slow => (
                "slow-upload",
                S::REQUEST_TIMEOUT,
                "The request came too slowly",
            ),
            Self::DeploymentRunning => (
                "deployment-running",
                S::CONFLICT,
                "Another deployment is running",
            ),
            Self::IllegalState => (
                "illegal-state",
                S::CONFLICT,
                "The deployment is not in a state for this",
            ),
            Self::NothingBefore => (
                "nothing-before",
                S::CONFLICT,
                "There is no version to go back to",
            ),
            Self::NoNodes => ("no-nodes", S::CONFLICT, "The environment has no nodes"),
            Self::VersionTaken => ("version-taken", S::CONFLICT, "The version exists already"),
            Self::BuiltInStrategy => (
                "built-in-strategy",
                S::CONFLICT,
                "The strategy came with the engine",
            ),
            Self::PayloadTooLarge => (
                "payload-too-large",
                S::PAYLOAD_TOO_LARGE,
                "The body is too large",
            ),
            Self::UnsupportedMediaType => (
                "unsupported-media-type",
                S::UNSUPPORTED_MEDIA_TYPE,
                "The body has the wrong type",
            ),
            Self::InvalidRequest => (
                "invalid-request",
                S::UNPROCESSABLE_ENTITY,
                "The request does not make sense",
            ),
            Self::InvalidConfig => (
                "invalid-config",
                S::UNPROCESSABLE_ENTITY,
                "The configuration does not fit the strategy",
            ),
            Self::NotAModule => (
                "not-a-module",
                S::UNPROCESSABLE_ENTITY,
                "Nodes cannot run this",
            ),
            Self::NotAStrategy => (
                "not-a-strategy",
                S::UNPROCESSABLE_ENTITY,
                "The engine cannot run this",
            ),
            Self::Internal => (
                "internal",
                S::INTERNAL_SERVER_ERROR,
                "The engine has a fault",
            ),
            Self::Unavailable => (
                "unavailable",
                S::SERVICE_UNAVAILABLE,
                "The engine cannot do this now",
            ),
            Self::TimedOut => (
                "timed-out",
                S::SERVICE_UNAVAILABLE,
                "The engine took too long",
            ),
        }
    }
}

impl Problem {
    /// A problem of this kind; `detail` tells a person what happened and what to do.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            deployment: None,
            allow: None,
            cause: None,
        }
    }

    /// Nobody says who they are.
    pub fn no_token() -> Self {
        let detail = "send the header Authorization: Bearer and a token";
        Self::new(Kind::Unauthorized, detail)
    }

    /// With these parts of the request named.
    pub fn with_errors(self, errors: Vec<FieldError>) -> Self {
        Self { errors, ..self }
    }

    /// With the deployment that is in the way.
    pub fn with_deployment(self, deployment: DeploymentId) -> Self {
        let deployment = Some(deployment);
        Self { deployment, ..self }
    }

    /// With the methods that do apply.
    pub fn with_allow(self, methods: impl Into<String>) -> Self {
        let allow = Some(methods.into());
        Self { allow, ..self }
    }

    /// With what the log should say of it and the client should not hear.
    pub fn with_cause(self, error: &(dyn std::error::Error + 'static)) -> Self {
        let cause = Some(chain(error));
        Self { cause, ..self }
    }

    /// What the log should say of it, where that is more than the client hears.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The response to the request of this id.
    pub fn response(&self, request_id: &str) -> Response {
        let (slug, status, title) = self.kind.parts();
        let detail = match self.kind {
            Kind::Internal => "the engine's log says more under this request's id",
            _ => &self.detail,
        };
        let body = ProblemBody {
            kind: format!("urn:hotswap:problem:{slug}"),
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
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        if let Some(allow) = self.allow.as_deref()
            && let Ok(allow) = HeaderValue::from_str(allow)
        {
            headers.insert(ALLOW, allow);
        }
        response
    }
}

impl FieldError {
    /// Of a part of the body.
    pub fn at(pointer: impl Into<String>, detail: impl fmt::Display) -> Self {
        Self {
            pointer: Some(pointer.into()),
            parameter: None,
            detail: detail.to_string(),
        }
    }

    /// Of a parameter.
    pub fn of(parameter: impl Into<String>, detail: impl fmt::Display) -> Self {
        Self {
            pointer: None,
            parameter: Some(parameter.into()),
            detail: detail.to_string(),
        }
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

/// An error and its sources, one after the other.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
