use http::StatusCode;

use crate::compiled;
use crate::modules::{Error, chain};
use crate::problem::problem;
use hotswap_protocol::Problem;

/// What an order's giver is told.
pub(super) fn explain(error: &Error) -> Problem {
    let (status, kind, title) = match error {
        Error::Fenced { .. } => (
            StatusCode::CONFLICT,
            "fenced",
            "Another engine or deployment has taken over",
        ),
        Error::Reused(_) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "operation-reused",
            "The operation's id belongs to another order",
        ),
        Error::Version(_) | Error::Digest(_) | Error::Misfit(_) => REFUSED,
        Error::Artifact(error) if error.is_passing() => UNAVAILABLE,
        Error::Artifact(_) => REFUSED,
        Error::Load(compiled::Error::Read(_) | compiled::Error::Interrupted) => UNAVAILABLE,
        Error::Load(
            compiled::Error::CoreModule
            | compiled::Error::NotWasm
            | compiled::Error::Compile(_)
            | compiled::Error::Imports(_)
            | compiled::Error::Exports(_)
            | compiled::Error::Start(_),
        ) => REFUSED,
        Error::Keep(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "not-kept",
            "The node cannot keep the change",
        ),
        Error::Interrupted => UNAVAILABLE,
    };
    problem(status, kind, title, chain(error))
}

const REFUSED: (StatusCode, &str, &str) = (
    StatusCode::UNPROCESSABLE_ENTITY,
    "refused",
    "The order cannot be carried out",
);

const UNAVAILABLE: (StatusCode, &str, &str) = (
    StatusCode::SERVICE_UNAVAILABLE,
    "unavailable",
    "The order cannot be carried out now",
);
