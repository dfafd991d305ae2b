use hotswap_core::Timestamp;
use jsonwebtoken as jwt;
use serde::Serialize;

use super::key::{self, KeyError};
use crate::auth::Role;

/// Signs tokens that a [`super::JwtVerifier`] with the same secret accepts: for tests, and
/// for engines without an issuer.
#[derive(Debug, Clone)]
pub struct Signer {
    key: jwt::EncodingKey,
    issuer: String,
    audience: String,
}

/// Why a token was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The engine would reject the subject.
    #[error("'{subject}' is not a valid subject: {reason}")]
    Subject {
        /// The subject.
        subject: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The library failed.
    #[error("the token could not be signed")]
    Sign(#[source] Box<dyn std::error::Error + Send + Sync>),
}

#[derive(Serialize)]
struct Claims<'a> {
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
    /// Where the secret is shorter than 32 bytes or a key in PEM form.
    pub fn new(secret: &[u8], issuer: &str, audience: &str) -> Result<Self, KeyError> {
        Ok(Self {
            key: jwt::EncodingKey::from_secret(key::check_secret(secret)?),
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
        })
    }

    /// A token for `subject` with this role. It expires at `expires`, rounded up to a whole
    /// second.
    ///
    /// # Errors
    /// [`SignError::Subject`] if the engine would reject the subject.
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
        let claims = Claims {
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
