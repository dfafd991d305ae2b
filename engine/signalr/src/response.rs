//! HTTP responses that the service and the transports share.

use poem::Response;
use poem::http::{StatusCode, header};
use serde::Serialize;

pub(crate) fn json(value: &impl Serialize) -> Response {
    let text = serde_json::to_vec(value).unwrap_or_default();
    Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CACHE_CONTROL, "no-store")
        .body(text)
}

pub(crate) fn empty(status: StatusCode) -> Response {
    Response::builder()
        .status(status)
        .header(header::CACHE_CONTROL, "no-cache, no-store")
        .finish()
}
