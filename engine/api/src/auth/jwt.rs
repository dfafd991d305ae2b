//! Signed tokens (JWT, RFC 7519). The configuration alone decides how a token is checked:
//! its header is not trusted.

mod key;
mod signer;
#[cfg(test)]
mod tests;

use hotswap_core::Timestamp;
use jsonwebtoken as jwt;
use jsonwebtoken::errors::ErrorKind;
use serde::Deserialize;

use super::identity::API_TOKEN_SUBJECT;
use super::rejection::{ClaimError, InvalidSubject};
use super::{Identity, Rejection};

pub use key::{Algorithm, KeyError};
pub use signer::{SignError, Signer};

/// How far the clocks of issuer and engine may differ, in milliseconds, before a token with
/// `nbf` in the future is rejected. `exp` gets no such allowance: a client that renews its
/// token in time does not need one.
const CLOCK_SKEW: u64 = 30_000;
/// In bytes. The journal keeps the subject with every deployment.
const MAX_SUBJECT: usize = 255;

/// Verifies signed tokens.
#[derive(Debug, Clone)]
pub struct JwtVerifier {
    key: jwt::DecodingKey,
    validation: jwt::Validation,
}

/// The claims that [`jwt::Validation`] does not check by itself. All are optional, so that
/// the rejection can name the missing one.
#[derive(Debug, Deserialize)]
struct Claims {
    sub: Option<String>,
    role: Option<String>,
    /// Seconds since the Unix epoch, perhaps with a fraction.
    exp: Option<f64>,
    nbf: Option<f64>,
}

impl JwtVerifier {
    /// Accepts tokens signed by this algorithm with the counterpart of `key`, from this
    /// issuer and for this audience. The key is the secret itself for [`Algorithm::Hs256`],
    /// and a public key in PEM form for all others.
    ///
    /// # Errors
    /// Where the key does not fit the algorithm.
    pub fn new(
        algorithm: Algorithm,
        key: &[u8],
        issuer: &str,
        audience: &str,
    ) -> Result<Self, KeyError> {
        let key = key::decoding_key(algorithm, key)?;
        let mut validation = jwt::Validation::new(algorithm.into());
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        // `verify` checks both with the injected clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self { key, validation })
    }

    /// The identity in a token.
    pub(super) fn verify(&self, token: &str, now: Timestamp) -> Result<Identity, Rejection> {
        let token = jwt::decode::<Claims>(token, &self.key, &self.validation);
        let token = token.map_err(|error| rejection(error.kind()))?;
        // `crit` lists extensions that a verifier must know. This one knows none.
        if token.header.crit.is_some() {
            return Err(Rejection::Unknown);
        }
        let claims = token.claims;
        let missing = |name| Rejection::Claim(ClaimError::Missing(name));
        let subject = claims.sub.ok_or(missing("sub"))?;
        check_subject(&subject).map_err(|error| Rejection::Claim(ClaimError::Subject(error)))?;
        let role = claims.role.ok_or(missing("role"))?.parse();
        let role = role.map_err(|error| Rejection::Claim(ClaimError::Role(error)))?;
        let expires_at = timestamp(claims.exp.ok_or(missing("exp"))?);
        if now >= expires_at {
            return Err(Rejection::Expired);
        }
        let is_future = |nbf| timestamp(nbf).millis() > now.millis().saturating_add(CLOCK_SKEW);
        if claims.nbf.is_some_and(is_future) {
            return Err(Rejection::Claim(ClaimError::NotYetValid));
        }
        Ok(Identity {
            subject,
            role,
            expires_at: Some(expires_at),
        })
    }
}

/// The rejection for an error of the library. A wrong signature and a text that is no token
/// at all get the same one.
fn rejection(kind: &ErrorKind) -> Rejection {
    match kind {
        ErrorKind::InvalidIssuer => Rejection::Claim(ClaimError::Issuer),
        ErrorKind::InvalidAudience => Rejection::Claim(ClaimError::Audience),
        ErrorKind::MissingRequiredClaim(name) => {
            let required = ["exp", "aud", "iss", "sub"];
            let name = required.into_iter().find(|required| required == name);
            name.map_or(Rejection::Unknown, |name| {
                Rejection::Claim(ClaimError::Missing(name))
            })
        }
        _ => Rejection::Unknown,
    }
}

/// Checks that a subject can stand in the journal, and is not the API token's.
fn check_subject(subject: &str) -> Result<(), InvalidSubject> {
    let is_valid = (1..=MAX_SUBJECT).contains(&subject.len())
        && !subject.chars().any(char::is_control)
        && subject != API_TOKEN_SUBJECT;
    if is_valid {
        Ok(())
    } else {
        Err(InvalidSubject)
    }
}

/// The time that is this many seconds after the Unix epoch; the epoch for negative numbers.
fn timestamp(seconds: f64) -> Timestamp {
    // The cast saturates at both ends.
    Timestamp::from_millis((seconds * 1000.0) as u64)
}
