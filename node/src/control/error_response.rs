use hotswap_protocol::Problem;
use http::StatusCode;
use poem_openapi::ApiResponse;
use poem_openapi::payload::Json;

/// Error responses of the control API.
#[derive(Debug, ApiResponse)]
pub(super) enum ErrorResponse {
    /// The request is malformed.
    #[oai(status = 400, content_type = "application/problem+json")]
    BadRequest(Json<Problem>),
    /// The request has no node token, or a wrong one.
    #[oai(status = 401, content_type = "application/problem+json")]
    Unauthorized(Json<Problem>),
    /// The resource does not exist.
    #[oai(status = 404, content_type = "application/problem+json")]
    NotFound(Json<Problem>),
    /// The node has seen a higher fence than the order's (`urn:hotswap:problem:fenced`), or a
    /// later order has taken the place of this one (`urn:hotswap:problem:superseded`).
    #[oai(status = 409, content_type = "application/problem+json")]
    Conflict(Json<Problem>),
    /// The request is for another node, or an earlier start of this one
    /// (`urn:hotswap:problem:wrong-node`).
    #[oai(status = 421, content_type = "application/problem+json")]
    Misdirected(Json<Problem>),
    /// The node rejects the request. Do not retry.
    #[oai(status = 422, content_type = "application/problem+json")]
    Rejected(Json<Problem>),
    /// The node failed.
    #[oai(status = 500, content_type = "application/problem+json")]
    Internal(Json<Problem>),
    /// The node cannot do this now. Retry later.
    #[oai(status = 503, content_type = "application/problem+json")]
    Unavailable(Json<Problem>),
}

impl From<Problem> for ErrorResponse {
    fn from(problem: Problem) -> Self {
        match StatusCode::from_u16(problem.status) {
            Ok(StatusCode::BAD_REQUEST) => Self::BadRequest(Json(problem)),
            Ok(StatusCode::UNAUTHORIZED) => Self::Unauthorized(Json(problem)),
            Ok(StatusCode::NOT_FOUND) => Self::NotFound(Json(problem)),
            Ok(StatusCode::CONFLICT) => Self::Conflict(Json(problem)),
            Ok(StatusCode::MISDIRECTED_REQUEST) => Self::Misdirected(Json(problem)),
            Ok(StatusCode::UNPROCESSABLE_ENTITY) => Self::Rejected(Json(problem)),
            Ok(StatusCode::SERVICE_UNAVAILABLE) => Self::Unavailable(Json(problem)),
            _ => Self::Internal(Json(problem)),
        }
    }
}
