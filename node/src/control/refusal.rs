use http::StatusCode;
use poem_openapi::ApiResponse;
use poem_openapi::payload::Json;

use hotswap_protocol::Problem;

/// Why a request was not done.
#[derive(Debug, ApiResponse)]
pub(super) enum Refusal {
    /// The request is not one that the API has.
    #[oai(status = 400, content_type = "application/problem+json")]
    BadRequest(Json<Problem>),
    /// The request does not show the node token.
    #[oai(status = 401, content_type = "application/problem+json")]
    Unauthorized(Json<Problem>),
    /// There is no such thing.
    #[oai(status = 404, content_type = "application/problem+json")]
    NotFound(Json<Problem>),
    /// The order's fence is lower than one that was seen (`urn:hotswap:problem:fenced`).
    #[oai(status = 409, content_type = "application/problem+json")]
    Conflict(Json<Problem>),
    /// The node will not, and repeating the request will not change that.
    #[oai(status = 422, content_type = "application/problem+json")]
    Refused(Json<Problem>),
    /// The node failed.
    #[oai(status = 500, content_type = "application/problem+json")]
    Internal(Json<Problem>),
    /// The node cannot now; try again.
    #[oai(status = 503, content_type = "application/problem+json")]
    Unavailable(Json<Problem>),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        match StatusCode::from_u16(problem.status) {
            Ok(StatusCode::BAD_REQUEST) => Self::BadRequest(Json(problem)),
            Ok(StatusCode::UNAUTHORIZED) => Self::Unauthorized(Json(problem)),
            Ok(StatusCode::NOT_FOUND) => Self::NotFound(Json(problem)),
            Ok(StatusCode::CONFLICT) => Self::Conflict(Json(problem)),
            Ok(StatusCode::UNPROCESSABLE_ENTITY) => Self::Refused(Json(problem)),
            Ok(StatusCode::SERVICE_UNAVAILABLE) => Self::Unavailable(Json(problem)),
            _ => Self::Internal(Json(problem)),
        }
    }
}
