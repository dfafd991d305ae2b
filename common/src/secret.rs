use std::fmt;

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Shorter tokens can be guessed. 16 random letters and digits have about 95 bits of entropy.
const MIN_LENGTH: usize = 16;

/// A bearer token or another shared secret.
///
/// # Guarantees
/// - `Debug` never shows it, and there is no `Display` and no serialisation.
/// - Its memory is overwritten when it is dropped.
/// - Comparing takes constant time for texts of equal length, and the time does not depend
///   on the secret's length.
#[derive(Clone)]
pub struct Secret(SecretString);

/// A text that is too short for a token, or that an HTTP header cannot carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token needs at least {MIN_LENGTH} characters, all visible ASCII without spaces; \
     make one with: openssl rand -hex 32"
)]
pub struct WeakSecret;

impl Secret {
    /// Wraps `text` without validating it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// Validates and wraps a token that a server will accept.
    ///
    /// # Errors
    /// [`WeakSecret`] if `text` is too short, or has characters that HTTP headers cannot carry.
    pub fn strong(text: impl Into<String>) -> Result<Self, WeakSecret> {
        let text = text.into();
        if text.len() >= MIN_LENGTH && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self::new(text))
        } else {
            Err(WeakSecret)
        }
    }

    /// The secret itself. Only for sending: never put it into a log, an error or a URL.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether the secret is empty. An empty secret matches nothing.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }

    /// Whether `text` is this secret. Always false for an empty secret.
    pub fn matches(&self, text: &str) -> bool {
        // All hashes have the same length, so the comparison does not reveal the secret's length.
        let equal: bool = hash(self.expose()).ct_eq(&hash(text)).into();
        equal && !self.is_empty()
    }

    /// HMAC-SHA256 of `message` under this secret, in hexadecimal: proves possession of the secret
    /// without revealing it. A weak secret can be guessed from the proof.
    pub fn prove(&self, message: &[u8]) -> String {
        let tag = hmac::sign(&self.key(), message);
        tag.as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Whether `proof` is what [`Self::prove`] returns for the message. Always false for an empty
    /// secret. Takes constant time.
    pub fn is_proven_by(&self, proof: &str, message: &[u8]) -> bool {
        let own = self.prove(message);
        let equal: bool = own.as_bytes().ct_eq(proof.as_bytes()).into();
        equal && !self.is_empty()
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.expose().as_bytes())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        hash(self.expose()).ct_eq(&hash(other.expose())).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_only_itself() {
        let secret = Secret::strong("0123456789abcdef").unwrap();
        assert!(secret.matches("0123456789abcdef"));
        for other in [
            "",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789abcdeF",
        ] {
            assert!(!secret.matches(other), "{other}");
            assert_ne!(secret, Secret::new(other));
        }
    }

    #[test]
    fn debug_does_not_show_it() {
        assert!(!format!("{:?}", Secret::new("0123")).contains("0123"));
    }

    #[test]
    fn an_empty_secret_matches_nothing() {
        assert!(!Secret::new("").matches(""));
    }

    /// The second test vector of RFC 4231.
    #[test]
    fn a_proof_is_the_hmac_of_the_message() {
        let secret = Secret::new("Jefe");
        let message = b"what do ya want for nothing?";
        let proof = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(secret.prove(message), proof);
        assert!(secret.is_proven_by(proof, message));
        assert!(!secret.is_proven_by(proof, b"what do ya want for something?"));
        assert!(!secret.is_proven_by(&proof[1..], message));
        assert!(!Secret::new("Jeff").is_proven_by(proof, message));
        let empty = Secret::new("");
        assert!(!empty.is_proven_by(&empty.prove(message), message));
    }

    #[test]
    fn strong_rejects_weak_and_unsendable_tokens() {
        for bad in [
            "",
            "short",
            "0123456789 abcdef",
            "0123456789abcdé",
            "0123456789abcde\n",
        ] {
            assert!(Secret::strong(bad).is_err(), "{bad}");
        }
    }
}
