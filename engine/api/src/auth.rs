//! Who may do what. A token tells who somebody is and in which role; an operation says by
//! the extractor that it takes, [`Viewer`], [`Operator`], [`Admin`] or [`Node`], whom it
//! is for. What is no operation of the document asks [`identify`].

use hotswap_core::Timestamp;
use poem::Request;
use poem::web::headers::authorization::Bearer;
use poem::web::headers::{Authorization, HeaderMapExt};

use crate::context::Context;
use crate::problem::{Kind, Problem};

mod identity;
mod jwt;
mod refusal;
mod role;
mod scheme;
mod secret;

pub(crate) use identity::Identity;
pub use jwt::{Algorithm, Jwt, KeyError, SignError, Signer};
pub(crate) use refusal::Refusal;
pub use role::{Role, UnknownRole};
pub(crate) use scheme::{Admin, Node, Operator, Viewer};
pub use secret::{Secret, WeakSecret};

/// The tokens that stay the same until somebody changes them.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Opens everything but what nodes say of themselves: the role [`Role::Admin`].
    pub api: Secret,
    /// Opens what nodes need, and nothing else.
    pub node: Secret,
}

/// All that tells tokens that are known from those that are not.
#[derive(Debug)]
pub(crate) struct Authority {
    tokens: Tokens,
    jwt: Option<Jwt>,
}

impl Authority {
    /// Knows these tokens, and those that are signed as `jwt` says, where there is one.
    pub fn new(tokens: Tokens, jwt: Option<Jwt>) -> Self {
        Self { tokens, jwt }
    }

    /// Who shows this token.
    ///
    /// # Errors
    /// Where nobody is known by it, or not any more; and for the node token, which is of
    /// machines and not of anybody.
    pub fn authenticate(&self, token: &str, now: Timestamp) -> Result<Identity, Refusal> {
        // Both are compared whatever comes of the first: time tells nothing.
        match (self.tokens.api.is(token), self.tokens.node.is(token)) {
            (true, _) => Ok(Identity::of_the_api_token()),
            (false, true) => Err(Refusal::Node),
            (false, false) => match &self.jwt {
                Some(jwt) => jwt.read(token, now),
                None => Err(Refusal::Unknown),
            },
        }
    }
}

/// Who asks, for what is no operation of the document: the token is in the same header.
///
/// # Errors
/// A 401 where there is no token, or none that does; a 403 for the node token.
pub(crate) fn identify(request: &Request) -> Result<Identity, Problem> {
    let shown = request.headers().typed_get::<Authorization<Bearer>>();
    let shown = shown.ok_or_else(Problem::no_token)?;
    Ok(context(request)?.authenticate(shown.token())?)
}

fn context(request: &Request) -> Result<&Context, Problem> {
    let context = request.data::<Context>();
    context.ok_or_else(|| Problem::new(Kind::Internal, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = "api-token-0123456789";
    const NODE: &str = "node-token-0123456789";
    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn authority(jwt: bool) -> Authority {
        let tokens = Tokens {
            api: Secret::new(API).unwrap(),
            node: Secret::new(NODE).unwrap(),
        };
        let jwt = jwt.then(|| Jwt::new(Algorithm::Hs256, SECRET, "issuer", "engine").unwrap());
        Authority::new(tokens, jwt)
    }

    #[test]
    fn each_token_is_what_it_is() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let later = Timestamp::from_millis(1_700_000_060_000);
        let signer = Signer::new(SECRET, "issuer", "engine").unwrap();
        let token = signer.sign("ada", Role::Viewer, now, later).unwrap();
        for jwt in [false, true] {
            let authority = authority(jwt);
            let admin = authority.authenticate(API, Timestamp::MAX).unwrap();
            assert_eq!((&*admin.subject, admin.role), ("api-token", Role::Admin));
            assert_eq!(admin.expires_at, None);
            assert_eq!(authority.authenticate(NODE, now), Err(Refusal::Node));
            for bad in ["", "a.b.c", "api-token-0123456780"] {
                let refused = authority.authenticate(bad, now);
                assert_eq!(refused, Err(Refusal::Unknown), "{bad}");
            }
            let signed = authority.authenticate(&token, now);
            if jwt {
                let expected = Identity {
                    subject: "ada".to_owned(),
                    role: Role::Viewer,
                    expires_at: Some(later),
                };
                assert_eq!(signed, Ok(expected));
            } else {
                assert_eq!(signed, Err(Refusal::Unknown));
            }
        }
    }
}
