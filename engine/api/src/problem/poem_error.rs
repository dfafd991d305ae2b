//! Failures that poem finds before an operation runs, or in place of one.

use poem::error::{MethodNotAllowedError, NotFoundError, ReadBodyError};
use poem::http::StatusCode;
use poem_openapi::error::{AuthorizationError, ParseParamError, ParsePathError};

use super::{FieldError, Kind, Problem};
use crate::routes::Route;

/// The problem for an error of poem. `route` is the route that the request matched, if any.
pub(crate) fn from_poem(error: poem::Error, route: Option<&Route>) -> Problem {
    let error = match error.downcast::<Problem>() {
        Ok(problem) => return problem,
        Err(error) => error,
    };
    if let Some(error) = error.downcast_ref::<ParsePathError>() {
        let name = route.and_then(|route| route.parameter(error.name));
        return invalid_parameter(name.unwrap_or(error.name), &error.reason);
    }
    if let Some(error) = error.downcast_ref::<ParseParamError>() {
        return invalid_parameter(error.name, &error.reason);
    }
    if error.is::<AuthorizationError>() {
        return Problem::no_token();
    }
    if error.is::<NotFoundError>() {
        let detail = "nothing is served at this path; GET /openapi.json lists all paths";
        return Problem::new(Kind::UnknownRoute, detail);
    }
    if error.is::<MethodNotAllowedError>() {
        let methods = route.map_or_else(String::new, Route::methods);
        let detail = format!("this path supports only: {methods}");
        return Problem::new(Kind::MethodNotAllowed, detail).with_allow(methods);
    }
    if let Some(error) = error.downcast_ref::<ReadBodyError>() {
        let detail = format!("the body could not be read: {error}");
        return Problem::new(Kind::BadRequest, detail);
    }
    from_status(&error)
}

/// For errors that a later release of poem may add.
fn from_status(error: &poem::Error) -> Problem {
    let kind = match error.status() {
        StatusCode::UNAUTHORIZED => Kind::Unauthorized,
        StatusCode::FORBIDDEN => Kind::Forbidden,
        StatusCode::NOT_FOUND => Kind::UnknownRoute,
        StatusCode::PAYLOAD_TOO_LARGE => Kind::PayloadTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Kind::UnsupportedMediaType,
        status if status.is_client_error() => Kind::BadRequest,
        _ => Kind::Internal,
    };
    Problem::new(kind, error.to_string()).with_cause(error)
}

fn invalid_parameter(name: &str, reason: &str) -> Problem {
    // poem puts the name of the Rust type before the parser's message.
    let message = reason
        .strip_prefix("failed to parse ")
        .and_then(|rest| rest.split_once("\": "));
    let message = message.map_or(reason, |(_, message)| message);
    let error = FieldError::in_parameter(name, message);
    Problem::new(
        Kind::BadRequest,
        format!("the parameter '{name}' is invalid: {message}"),
    )
    .with_errors(vec![error])
}
