//! Who a token belongs to, and what its role allows.
//!
//! [`Authenticator`] turns a token into an [`Identity`]; [`Identity::require`] checks its
//! role. The extractors of `extract` do both for the operations.

mod identity;
mod jwt;
mod rejection;
mod role;

use std::sync::Arc;

use arc_swap::ArcSwap;
use hotswap_common::Secret;
use hotswap_core::Timestamp;

pub(crate) use identity::Identity;
pub use jwt::{Algorithm, JwtVerifier, KeyError, SignError, Signer};
pub(crate) use rejection::Rejection;
pub use role::{Role, UnknownRole};

/// The tokens that do not expire.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The API token. It has the role [`Role::Admin`], and allows everything but what only
    /// nodes do.
    pub api: Secret,
    /// The node token. It allows only what nodes do: register, report in, fetch artifacts.
    pub node: Secret,
}

/// Validates tokens. Cheap to clone; clones accept the same.
#[derive(Debug, Clone)]
pub struct Authenticator(Arc<ArcSwap<Accepted>>);

/// The accepted credentials.
#[derive(Debug)]
struct Accepted {
    tokens: Tokens,
    jwt: Option<JwtVerifier>,
}

impl Authenticator {
    /// Accepts these tokens, and the signed tokens that `jwt` accepts, if any.
    pub(crate) fn new(tokens: Tokens, jwt: Option<JwtVerifier>) -> Self {
        let accepted = Accepted { tokens, jwt };
        Self(Arc::new(ArcSwap::from_pointee(accepted)))
    }

    /// Accepts these instead from now on. Requests and streams that were authenticated before go
    /// on.
    pub fn replace(&self, tokens: Tokens, jwt: Option<JwtVerifier>) {
        self.0.store(Arc::new(Accepted { tokens, jwt }));
    }

    /// The identity that a token stands for.
    ///
    /// # Errors
    /// Where the token is unknown, invalid or expired; and [`Rejection::NodeToken`] for the
    /// node token, which stands for machines and no identity.
    pub(crate) fn authenticate(&self, token: &str, now: Timestamp) -> Result<Identity, Rejection> {
        // Compare both in every case, so that the time taken reveals nothing.
        let accepted = self.0.load();
        let is_api = accepted.tokens.api.matches(token);
        let is_node = accepted.tokens.node.matches(token);
        match (is_api, is_node) {
            (true, _) => Ok(Identity::api_token()),
            (false, true) => Err(Rejection::NodeToken),
            (false, false) => match &accepted.jwt {
                Some(jwt) => jwt.verify(token, now),
                None => Err(Rejection::Unknown),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = "api-token-0123456789";
    const NODE: &str = "node-token-0123456789";
    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn authenticator(with_jwt: bool) -> Authenticator {
        let tokens = Tokens {
            api: Secret::strong(API).unwrap(),
            node: Secret::strong(NODE).unwrap(),
        };
        let jwt = with_jwt
            .then(|| JwtVerifier::new(Algorithm::Hs256, SECRET, "issuer", "engine").unwrap());
        Authenticator::new(tokens, jwt)
    }

    #[test]
    fn a_replaced_token_is_not_accepted_any_more() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let authenticator = authenticator(false);
        let other = "other-token-0123456789";
        let tokens = Tokens {
            api: Secret::strong(other).unwrap(),
            node: Secret::strong(NODE).unwrap(),
        };
        authenticator.clone().replace(tokens, None);
        assert_eq!(
            authenticator.authenticate(API, now),
            Err(Rejection::Unknown)
        );
        assert!(authenticator.authenticate(other, now).is_ok());
    }

    #[test]
    fn each_kind_of_token_is_recognised() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let later = Timestamp::from_millis(1_700_000_060_000);
        let signer = Signer::new(SECRET, "issuer", "engine").unwrap();
        let token = signer.sign("ada", Role::Viewer, now, later).unwrap();
        for with_jwt in [false, true] {
            let authenticator = authenticator(with_jwt);
            let admin = authenticator.authenticate(API, Timestamp::MAX).unwrap();
            assert_eq!((&*admin.subject, admin.role), ("api-token", Role::Admin));
            assert_eq!(admin.expires_at, None);
            let node = authenticator.authenticate(NODE, now);
            assert_eq!(node, Err(Rejection::NodeToken));
            for invalid in ["", "a.b.c", "api-token-0123456780"] {
                let rejected = authenticator.authenticate(invalid, now);
                assert_eq!(rejected, Err(Rejection::Unknown), "{invalid}");
            }
            let signed = authenticator.authenticate(&token, now);
            if with_jwt {
                let expected = Identity {
                    subject: "ada".to_owned(),
                    role: Role::Viewer,
                    expires_at: Some(later),
                };
                assert_eq!(signed, Ok(expected));
            } else {
                assert_eq!(signed, Err(Rejection::Unknown));
            }
        }
    }
}
