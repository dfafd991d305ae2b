use bytes::Bytes;
use hotswap_protocol::Problem;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

/// Creates a problem of the type `urn:hotswap:problem:{name}`.
pub(crate) fn problem(status: StatusCode, name: &str, title: &str, detail: String) -> Problem {
    Problem::new(status.as_u16(), name, title, detail)
}

/// A request that is malformed.
pub(crate) fn bad_request(detail: String) -> Problem {
    problem(
        StatusCode::BAD_REQUEST,
        "bad-request",
        "The request is malformed",
        detail,
    )
}

/// The HTTP response for a problem. A 503 asks the client to retry after a second.
pub(crate) fn problem_response(problem: &Problem) -> http::Response<Bytes> {
    // An object of strings and a number always serialises.
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = http::Response::new(Bytes::from(body));
    *response.status_mut() =
        StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
    if problem.status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
