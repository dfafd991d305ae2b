use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;

use super::body::ProblemBody;
use super::{MEDIA_TYPE, Problem};

/// 400.
pub(crate) const BAD_REQUEST: u16 = 1;
/// 401 and 403.
pub(crate) const AUTH: u16 = 1 << 1;
/// 404.
pub(crate) const NOT_FOUND: u16 = 1 << 2;
/// 408.
pub(crate) const REQUEST_TIMEOUT: u16 = 1 << 3;
/// 409.
pub(crate) const CONFLICT: u16 = 1 << 4;
/// 412.
pub(crate) const PRECONDITION_FAILED: u16 = 1 << 11;
/// 413.
pub(crate) const PAYLOAD_TOO_LARGE: u16 = 1 << 5;
/// 415.
pub(crate) const UNSUPPORTED_MEDIA_TYPE: u16 = 1 << 6;
/// 416.
pub(crate) const RANGE_NOT_SATISFIABLE: u16 = 1 << 10;
/// 422.
pub(crate) const UNPROCESSABLE: u16 = 1 << 7;
/// 503.
pub(crate) const UNAVAILABLE: u16 = 1 << 8;
/// 507.
pub(crate) const DISK_FULL: u16 = 1 << 9;
/// What can be wrong with a JSON body.
pub(crate) const JSON_BODY: u16 =
    BAD_REQUEST | PAYLOAD_TOO_LARGE | UNSUPPORTED_MEDIA_TYPE | UNPROCESSABLE;
/// The failures of every upload of a component.
pub(crate) const UPLOAD: u16 = BAD_REQUEST
    | AUTH
    | REQUEST_TIMEOUT
    | CONFLICT
    | PAYLOAD_TOO_LARGE
    | UNSUPPORTED_MEDIA_TYPE
    | UNPROCESSABLE
    | UNAVAILABLE
    | DISK_FULL;
/// 500, which every operation can answer.
const INTERNAL: u16 = 1 << 15;

/// Each flag with its status and what the OpenAPI document says about it.
const STATUSES: &[(u16, u16, &str)] = &[
    (
        BAD_REQUEST,
        400,
        "The request is malformed. `errors` names the wrong parameter; `detail` says where the body is wrong.",
    ),
    (AUTH, 401, "The token is missing, unknown or expired."),
    (
        AUTH,
        403,
        "The token is valid but does not allow this operation. `detail` says which token or role it needs.",
    ),
    (NOT_FOUND, 404, "Nothing has this name or id."),
    (
        REQUEST_TIMEOUT,
        408,
        "The upload was too slow. Nothing was changed: send it again.",
    ),
    (
        CONFLICT,
        409,
        "The current state does not allow this. `detail` says why, and what to do.",
    ),
    (
        PRECONDITION_FAILED,
        412,
        "The resource has changed since the version in `If-Match`. Nothing was changed: read it \
         again, then retry.",
    ),
    (
        PAYLOAD_TOO_LARGE,
        413,
        "The body is too large. `detail` gives the limit.",
    ),
    (
        UNSUPPORTED_MEDIA_TYPE,
        415,
        "The body does not have the documented content type.",
    ),
    (
        RANGE_NOT_SATISFIABLE,
        416,
        "There is nothing at this range. `detail` gives the size.",
    ),
    (
        UNPROCESSABLE,
        422,
        "The request is well-formed but invalid. `errors` lists the parts that are wrong, where they can be named.",
    ),
    (
        INTERNAL,
        500,
        "The engine failed. Its log has the cause under the request's id.",
    ),
    (
        UNAVAILABLE,
        503,
        "The engine cannot do this now, or took too long. The request may have been carried out: check the state before you retry.",
    ),
    (
        DISK_FULL,
        507,
        "The engine's disk is full. Running deployments continue; nothing new is accepted until there is room.",
    ),
];

/// A failure of an operation. `FLAGS` are the statuses that the operation can answer; the
/// OpenAPI document lists them.
#[derive(Debug)]
pub(crate) struct Failure<const FLAGS: u16>(Problem);

/// Lets `?` turn into a failure whatever can become a problem.
impl<E, const FLAGS: u16> From<E> for Failure<FLAGS>
where
    Problem: From<E>,
{
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl<const FLAGS: u16> From<Failure<FLAGS>> for poem::Error {
    fn from(failure: Failure<FLAGS>) -> Self {
        failure.0.into()
    }
}

impl<const FLAGS: u16> ApiResponse for Failure<FLAGS> {
    fn meta() -> MetaResponses {
        let statuses = STATUSES
            .iter()
            .filter(|(flag, ..)| flag & (FLAGS | INTERNAL) != 0);
        let responses = statuses.map(|&(_, status, description)| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType {
                content_type: MEDIA_TYPE,
                schema: ProblemBody::schema_ref(),
            }],
            headers: Vec::new(),
        });
        MetaResponses {
            responses: responses.collect(),
        }
    }

    fn register(registry: &mut Registry) {
        ProblemBody::register(registry);
    }
}
