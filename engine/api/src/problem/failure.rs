use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;

use super::{PROBLEM_JSON, Problem, ProblemBody};

/// 400.
pub(crate) const INVALID: u16 = 1;
/// 401 and 403.
pub(crate) const AUTH: u16 = 1 << 1;
/// 404.
pub(crate) const MISSING: u16 = 1 << 2;
/// 408.
pub(crate) const SLOW: u16 = 1 << 3;
/// 409.
pub(crate) const CONFLICT: u16 = 1 << 4;
/// 413.
pub(crate) const TOO_LARGE: u16 = 1 << 5;
/// 415.
pub(crate) const MEDIA: u16 = 1 << 6;
/// 422.
pub(crate) const UNPROCESSABLE: u16 = 1 << 7;
/// 503.
pub(crate) const UNAVAILABLE: u16 = 1 << 8;
const ALWAYS: u16 = 1 << 15;

/// What the document says of each status.
const STATUSES: &[(u16, u16, &str)] = &[
    (
        INVALID,
        400,
        "The request cannot be read; `errors` names the parameter, `detail` the place in the body.",
    ),
    (
        AUTH,
        401,
        "No token was shown, or one that the engine does not know, or that has expired.",
    ),
    (
        AUTH,
        403,
        "The token is known, and does not allow this: `detail` says what would.",
    ),
    (MISSING, 404, "There is nothing by this name or id."),
    (SLOW, 408, "The body came too slowly; nothing was done."),
    (
        CONFLICT,
        409,
        "It does not fit how things stand; `detail` says what is in the way and what to do.",
    ),
    (
        TOO_LARGE,
        413,
        "The body is too large; `detail` says how large it may be.",
    ),
    (
        MEDIA,
        415,
        "The body has another type than the one that is documented.",
    ),
    (
        UNPROCESSABLE,
        422,
        "The request can be read and cannot be done; `errors` names each part that is wrong.",
    ),
    (
        ALWAYS,
        500,
        "The engine has a fault; its log says more under the request's id.",
    ),
    (
        UNAVAILABLE,
        503,
        "The engine cannot do this now, or took too long; whether it was done is unknown. Try again.",
    ),
];

/// A failure of an operation that can answer the statuses `ON`: the document lists them.
#[derive(Debug)]
pub(crate) struct Failure<const ON: u16>(Problem);

/// Whatever becomes a problem becomes a failure, by `?`.
impl<E, const ON: u16> From<E> for Failure<ON>
where
    Problem: From<E>,
{
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl<const ON: u16> From<Failure<ON>> for poem::Error {
    fn from(failure: Failure<ON>) -> Self {
        failure.0.into()
    }
}

impl<const ON: u16> ApiResponse for Failure<ON> {
    fn meta() -> MetaResponses {
        let on = STATUSES.iter().filter(|(bit, ..)| bit & (ON | ALWAYS) != 0);
        let responses = on.map(|&(_, status, description)| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType {
                content_type: PROBLEM_JSON,
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
