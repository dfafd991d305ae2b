use super::UnknownRole;
use crate::problem::{Kind, Problem};

/// Why a token does not identify a client. Contains nothing of the token itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejection {
    /// Neither a configured token nor correctly signed.
    #[error("the token is unknown to this engine; check that it is complete and for this engine")]
    Unknown,
    /// Correctly signed, but a claim is missing or wrong.
    #[error("the token is correctly signed, but {0}; get a token that is meant for this engine")]
    Claim(ClaimError),
    /// Correct, but expired.
    #[error("the token has expired; get a new one")]
    Expired,
    /// The node token.
    #[error(
        "the node token allows only what nodes do; use the API token, or a signed token if the engine accepts them"
    )]
    NodeToken,
}

/// What is wrong with a claim of a signed token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClaimError {
    /// A required claim is missing or cannot be read.
    #[error("it has no claim `{0}`")]
    Missing(&'static str),
    /// Another issuer made it.
    #[error("its `iss` is not the issuer that this engine trusts")]
    Issuer,
    /// It is meant for another service.
    #[error("its `aud` is not this engine")]
    Audience,
    /// The subject cannot stand in the journal.
    #[error("its `sub` is invalid: {0}")]
    Subject(InvalidSubject),
    /// There is no such role.
    #[error("its `role` is unknown: {0}")]
    Role(UnknownRole),
    /// It becomes valid later.
    #[error("its `nbf` is in the future")]
    NotYetValid,
}

/// A subject that cannot stand in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a subject has 1 to 255 bytes and no control characters, and is not `api-token`, which names the API token"
)]
pub(crate) struct InvalidSubject;

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let kind = match rejection {
            Rejection::Unknown | Rejection::Claim(_) => Kind::Unauthorized,
            Rejection::Expired => Kind::TokenExpired,
            Rejection::NodeToken => Kind::Forbidden,
        };
        Self::new(kind, rejection.to_string())
    }
}
