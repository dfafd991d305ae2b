use super::UnknownRole;
use crate::problem::{Kind, Problem};

/// Why nobody in particular shows a token. Says nothing of the token itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Neither given out nor signed by whom it should be.
    #[error("the token is not one that this engine knows")]
    Unknown,
    /// Signed by whom it should be, and yet not for this.
    #[error("the token is signed as it should be, and does not do: {0}")]
    Unfit(Unfit),
    /// It was good once.
    #[error("the token has expired; get a new one")]
    Expired,
    /// It is the node token.
    #[error("the node token opens only what nodes need; show the API token")]
    Node,
}

/// What is wrong with the claims of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// One that must be there is not, or cannot be read.
    #[error("it has no `{0}`")]
    Missing(&'static str),
    /// Somebody else's token.
    #[error("its `iss` is not the issuer that this engine trusts")]
    Issuer,
    /// A token for somebody else.
    #[error("its `aud` is not this engine")]
    Audience,
    /// It cannot stand in the journal.
    #[error("its `sub` is no name: {0}")]
    Subject(#[from] BadSubject),
    /// Nobody knows what it allows.
    #[error("its `role` is none: {0}")]
    Role(#[from] UnknownRole),
    /// It will be good later.
    #[error("it is not valid yet")]
    Early,
}

/// A name that the journal does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it has 1 to 255 bytes, no control characters, and is not the name of whoever shows the API token"
)]
pub(crate) struct BadSubject;

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal {
            Refusal::Unknown | Refusal::Unfit(_) => Kind::Unauthorized,
            Refusal::Expired => Kind::TokenExpired,
            Refusal::Node => Kind::Forbidden,
        };
        Self::new(kind, refusal.to_string())
    }
}
