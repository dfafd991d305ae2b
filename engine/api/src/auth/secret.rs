use std::fmt;

use hotswap_core::Digest;
use subtle::ConstantTimeEq;

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
    pub(super) fn is(&self, text: &str) -> bool {
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
