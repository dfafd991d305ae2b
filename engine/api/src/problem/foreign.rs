//! Failures that poem found before, or instead of, an operation.

use poem::error::{MethodNotAllowedError, NotFoundError, ReadBodyError};
use poem::http::StatusCode;
use poem_openapi::error::{AuthorizationError, ParseParamError, ParsePathError};

use super::{FieldError, Kind, Problem};
use crate::routes::Place;

/// The problem that an error of poem's is, at the place that the request asked for.
pub(crate) fn from_poem(error: poem::Error, place: Option<&Place>) -> Problem {
    let error = match error.downcast::<Problem>() {
        Ok(problem) => return problem,
        Err(error) => error,
    };
    if let Some(error) = error.downcast_ref::<ParsePathError>() {
        let name = place.and_then(|place| place.parameter(error.name));
        return parameter(name.unwrap_or(error.name), &error.reason);
    }
    if let Some(error) = error.downcast_ref::<ParseParamError>() {
        return parameter(error.name, &error.reason);
    }
    if error.is::<AuthorizationError>() {
        return Problem::no_token();
    }
    if error.is::<NotFoundError>() {
        let detail = "there is nothing at this path; /openapi.json lists what there is";
        return Problem::new(Kind::UnknownRoute, detail);
    }
    if error.is::<MethodNotAllowedError>() {
        let methods = place.map_or_else(String::new, Place::methods);
        let detail = format!("at this path there is only: {methods}");
        return Problem::new(Kind::MethodNotAllowed, detail).with_allow(methods);
    }
    if let Some(error) = error.downcast_ref::<ReadBodyError>() {
        return Problem::new(
            Kind::BadRequest,
            format!("the body cannot be read: {error}"),
        );
    }
    by_status(&error)
}

/// For what poem may come to answer in a later release.
fn by_status(error: &poem::Error) -> Problem {
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

fn parameter(name: &str, reason: &str) -> Problem {
    // poem puts the type that it parsed before what the parser said.
    let said = reason
        .strip_prefix("failed to parse ")
        .and_then(|rest| rest.split_once("\": "));
    let said = said.map_or(reason, |(_, said)| said);
    let error = FieldError::of(name, said);
    Problem::new(
        Kind::BadRequest,
        format!("the parameter '{name}' is wrong: {said}"),
    )
    .with_errors(vec![error])
}
