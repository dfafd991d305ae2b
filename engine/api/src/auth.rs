//! Who may do what: two bearer tokens, one for people and their programs, one for nodes.

use std::fmt;

use hotswap_core::Digest;
use poem::Request;
use poem_openapi::SecurityScheme;
use poem_openapi::auth::Bearer;
use subtle::ConstantTimeEq;

use crate::context::Context;
use crate::problem::{Kind, Problem};

/// Shorter ones can be guessed: 16 random letters and digits are some 95 bits.
const SHORTEST: usize = 16;

/// A bearer token. Kept as its hash, and never shown.
#[derive(Clone)]
pub struct Secret {
    hash: String,
}

/// A text that cannot be a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token has at least {SHORTEST} characters, all of them visible ASCII without spaces; make one with: openssl rand -hex 32"
)]
pub struct WeakSecret;

/// The tokens that the API takes.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Opens everything but what nodes say of themselves.
    pub api: Secret,
    /// Opens what nodes need, and nothing else.
    pub node: Secret,
}

impl Secret {
    /// The token with this text.
    ///
    /// # Errors
    /// Where it is too short, or cannot stand in a header.
    pub fn new(text: &str) -> Result<Self, WeakSecret> {
        if text.len() >= SHORTEST && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self { hash: hash(text) })
        } else {
            Err(WeakSecret)
        }
    }

    /// Whether `text` is the token. Takes as long for any text of the same length.
    fn is(&self, text: &str) -> bool {
        self.hash.as_bytes().ct_eq(hash(text).as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Of equal length for all texts: the comparison does not tell how long the token is.
fn hash(text: &str) -> String {
    Digest::of(text.as_bytes()).hex()
}

/// Who shows the API token.
pub(crate) struct Caller;

/// Who shows the node token.
pub(crate) struct Machine;

impl Caller {
    /// How the journal names whoever shows the API token.
    pub const SUBJECT: &str = "api-token";
}

/// The API token: a person, or a program that works for one.
#[derive(SecurityScheme)]
#[oai(rename = "apiToken", ty = "bearer", checker = "check_api")]
pub(crate) struct Operator(Caller);

/// The node token: a machine that runs `hotswap node`.
#[derive(SecurityScheme)]
#[oai(rename = "nodeToken", ty = "bearer", checker = "check_node")]
pub(crate) struct Node(Machine);

async fn check_api(request: &Request, shown: Bearer) -> poem::Result<Caller> {
    let tokens = tokens(request)?;
    // Both are compared whatever comes of the first: time tells nothing.
    match (tokens.api.is(&shown.token), tokens.node.is(&shown.token)) {
        (true, _) => Ok(Caller),
        (false, true) => Err(forbidden(
            "the node token opens only what nodes need; show the API token",
        )),
        (false, false) => Err(unknown()),
    }
}

async fn check_node(request: &Request, shown: Bearer) -> poem::Result<Machine> {
    let tokens = tokens(request)?;
    match (tokens.node.is(&shown.token), tokens.api.is(&shown.token)) {
        (true, _) => Ok(Machine),
        (false, true) => Err(forbidden("this is for nodes alone; show the node token")),
        (false, false) => Err(unknown()),
    }
}

fn tokens(request: &Request) -> poem::Result<&Tokens> {
    let context = request.data::<Context>();
    context
        .map(|context| &*context.tokens)
        .ok_or_else(|| Problem::new(Kind::Internal, "").into())
}

fn forbidden(detail: &str) -> poem::Error {
    Problem::new(Kind::Forbidden, detail).into()
}

fn unknown() -> poem::Error {
    Problem::new(
        Kind::Unauthorized,
        "the token is not one that this engine knows",
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_alone_and_never_shown() {
        let secret = Secret::new("0123456789abcdef").unwrap();
        assert!(secret.is("0123456789abcdef"));
        for other in [
            "",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789abcdeF",
        ] {
            assert!(!secret.is(other), "{other}");
        }
        assert!(!format!("{secret:?}").contains("0123"));
    }

    #[test]
    fn what_could_be_guessed_or_not_be_sent_is_refused() {
        for bad in [
            "",
            "short",
            "0123456789 abcdef",
            "0123456789abcdé",
            "0123456789abcde\n",
        ] {
            assert!(Secret::new(bad).is_err(), "{bad}");
        }
    }
}
