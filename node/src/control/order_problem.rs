use hotswap_protocol::Problem;
use http::StatusCode;

use super::modules::{Error, VersionError};
use crate::error::error_chain;
use crate::load_error::LoadError;
use crate::problem::problem;

type Kind = (StatusCode, &'static str, &'static str);

const REJECTED: Kind = (
    StatusCode::UNPROCESSABLE_ENTITY,
    "refused",
    "The node rejects the order",
);

const UNAVAILABLE: Kind = (
    StatusCode::SERVICE_UNAVAILABLE,
    "unavailable",
    "The node cannot carry out the order now",
);

/// The problem for an order that failed.
pub(super) fn order_problem(error: &Error) -> Problem {
    let (status, name, title) = match error {
        Error::Fenced { .. } => (
            StatusCode::CONFLICT,
            "fenced",
            "Another engine or deployment has taken over",
        ),
        Error::OperationIdReused(_) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "operation-reused",
            "The operation id belongs to another order",
        ),
        Error::Superseded => (
            StatusCode::CONFLICT,
            "superseded",
            "A later order has taken the place of this one",
        ),
        Error::InvalidVersion(_) | Error::Slots(_) => REJECTED,
        Error::Version { source, .. } => version_kind(source),
        Error::SaveRecord(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "not-kept",
            "The node cannot save the change",
        ),
        Error::ShuttingDown => UNAVAILABLE,
        Error::Panicked => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "panicked",
            "The node panicked in the order",
        ),
    };
    let highest_fence = match error {
        Error::Fenced { highest, .. } => Some(*highest),
        _ => None,
    };
    Problem {
        highest_fence,
        ..problem(status, name, title, error_chain(error))
    }
}

fn version_kind(error: &VersionError) -> Kind {
    match error {
        VersionError::Digest(_) => REJECTED,
        VersionError::Artifact(error) if error.is_transient() => UNAVAILABLE,
        VersionError::Artifact(_) => REJECTED,
        VersionError::Load(LoadError::Read(_) | LoadError::ShuttingDown) => UNAVAILABLE,
        VersionError::Load(
            LoadError::CoreModule
            | LoadError::NotWasm
            | LoadError::Compile(_)
            | LoadError::Imports(_)
            | LoadError::Exports(_)
            | LoadError::Start(_),
        ) => REJECTED,
    }
}
