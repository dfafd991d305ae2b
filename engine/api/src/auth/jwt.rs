//! Signed tokens (JWT, RFC 7519). How they are checked is for the configuration to say:
//! of a token's header nothing is believed.

use hotswap_core::Timestamp;
use jsonwebtoken as jwt;
use jsonwebtoken::errors::ErrorKind;
use serde::Deserialize;

use super::identity::API_TOKEN;
use super::refusal::{BadSubject, Unfit};
use super::{Identity, Refusal};

mod key;
mod signer;

pub use key::{Algorithm, KeyError};
pub use signer::{SignError, Signer};

/// How far the clocks of issuer and engine may be apart, in milliseconds, before a token
/// that is not valid yet is refused. None is given at its end: whoever renews a token in
/// time does not need it.
const SKEW: u64 = 30_000;
/// A longer name is no name; the journal keeps it with every deployment.
const LONGEST_SUBJECT: usize = 255;

/// How signed tokens are checked.
#[derive(Debug, Clone)]
pub struct Jwt {
    key: jwt::DecodingKey,
    validation: jwt::Validation,
}

/// What a token says, apart from what [`jwt::Validation`] looks at alone. All of it may be
/// missing, so that it can be told what is.
#[derive(Debug, Deserialize)]
struct Claims {
    sub: Option<String>,
    role: Option<String>,
    /// Seconds since the Unix epoch, perhaps with a fraction.
    exp: Option<f64>,
    nbf: Option<f64>,
}

impl Jwt {
    /// Takes tokens that are signed by this algorithm with what belongs to this key, come
    /// from this issuer, and are for this audience. The key is the secret itself for
    /// [`Algorithm::Hs256`], and a public key in PEM form for all others.
    ///
    /// # Errors
    /// Where the key cannot be one of the algorithm.
    pub fn new(
        algorithm: Algorithm,
        key: &[u8],
        issuer: &str,
        audience: &str,
    ) -> Result<Self, KeyError> {
        let key = key::decoding(algorithm, key)?;
        let mut validation = jwt::Validation::new(algorithm.into());
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        // Both are checked below, by the clock that is injected.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self { key, validation })
    }

    /// Who shows this token.
    pub(super) fn read(&self, token: &str, now: Timestamp) -> Result<Identity, Refusal> {
        let token = jwt::decode::<Claims>(token, &self.key, &self.validation);
        let token = token.map_err(|error| refusal(error.kind()))?;
        // It says that it must not be taken by whoever does not know these extensions.
        if token.header.crit.is_some() {
            return Err(Refusal::Unknown);
        }
        let claims = token.claims;
        let missing = |name| Refusal::Unfit(Unfit::Missing(name));
        let subject = claims.sub.ok_or(missing("sub"))?;
        check_subject(&subject).map_err(|error| Refusal::Unfit(error.into()))?;
        let role = claims.role.ok_or(missing("role"))?.parse();
        let role = role.map_err(|error| Refusal::Unfit(Unfit::Role(error)))?;
        let expires_at = moment(claims.exp.ok_or(missing("exp"))?);
        if now >= expires_at {
            return Err(Refusal::Expired);
        }
        let early = |from| moment(from).millis() > now.millis().saturating_add(SKEW);
        if claims.nbf.is_some_and(early) {
            return Err(Refusal::Unfit(Unfit::Early));
        }
        Ok(Identity {
            subject,
            role,
            expires_at: Some(expires_at),
        })
    }
}

/// What is told of an error; that a signature is wrong is not told apart from a text that
/// is no token at all.
fn refusal(kind: &ErrorKind) -> Refusal {
    match kind {
        ErrorKind::InvalidIssuer => Refusal::Unfit(Unfit::Issuer),
        ErrorKind::InvalidAudience => Refusal::Unfit(Unfit::Audience),
        ErrorKind::MissingRequiredClaim(name) => {
            let known = ["exp", "aud", "iss", "sub"];
            let name = known.into_iter().find(|known| known == name);
            name.map_or(Refusal::Unknown, |name| {
                Refusal::Unfit(Unfit::Missing(name))
            })
        }
        _ => Refusal::Unknown,
    }
}

/// That a name can stand in the journal, and is nobody else's.
fn check_subject(subject: &str) -> Result<(), BadSubject> {
    let fits = (1..=LONGEST_SUBJECT).contains(&subject.len())
        && !subject.chars().any(char::is_control)
        && subject != API_TOKEN;
    if fits { Ok(()) } else { Err(BadSubject) }
}

/// The moment of a number of seconds; before the epoch there is none.
fn moment(seconds: f64) -> Timestamp {
    // Saturates at both ends.
    Timestamp::from_millis((seconds * 1000.0) as u64)
}

#[cfg(test)]
mod tests;
