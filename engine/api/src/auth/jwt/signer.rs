use hotswap_core::Timestamp;
use jsonwebtoken as jwt;
use serde::Serialize;

use super::key::{self, KeyError};
use crate::auth::Role;

/// Makes tokens that a [`super::Jwt`] of the same secret takes: for tests, and for whoever
/// has no issuer.
#[derive(Debug, Clone)]
pub struct Signer {
    key: jwt::EncodingKey,
    issuer: String,
    audience: String,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The engine would not take it.
    #[error("'{subject}' is no subject: {reason}")]
    Subject {
        /// Whose it was to be.
        subject: String,
        /// Why not.
        reason: String,
    },
    /// The library would not.
    #[error("the token cannot be signed")]
    Sign(#[source] Box<dyn std::error::Error + Send + Sync>),
}

#[derive(Serialize)]
struct Signed<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    role: &'a str,
    iat: u64,
    exp: u64,
}

impl Signer {
    /// Signs with HMAC-SHA-256.
    ///
    /// # Errors
    /// Where the secret is too short.
    pub fn new(secret: &[u8], issuer: &str, audience: &str) -> Result<Self, KeyError> {
        Ok(Self {
            key: jwt::EncodingKey::from_secret(key::secret(secret)?),
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
        })
    }

    /// A token of `subject` in this role until `expires`, or the end of the second that it
    /// is in.
    ///
    /// # Errors
    /// Where the engine would not take the subject.
    pub fn sign(
        &self,
        subject: &str,
        role: Role,
        now: Timestamp,
        expires: Timestamp,
    ) -> Result<String, SignError> {
        super::check_subject(subject).map_err(|error| SignError::Subject {
            subject: subject.to_owned(),
            reason: error.to_string(),
        })?;
        let claims = Signed {
            iss: &self.issuer,
            aud: &self.audience,
            sub: subject,
            role: role.as_str(),
            iat: now.millis() / 1000,
            exp: expires.millis().div_ceil(1000),
        };
        let header = jwt::Header::new(jwt::Algorithm::HS256);
        jwt::encode(&header, &claims, &self.key).map_err(|error| SignError::Sign(Box::new(error)))
    }
}
