use std::ops::RangeInclusive;

use jsonwebtoken::{self as jwt, DecodingKey};
use serde::{Deserialize, Serialize};

/// In bytes. A shorter secret would weaken HMAC-SHA-256 (RFC 7518, section 3.2).
const MIN_SECRET: usize = 32;
/// In bytes: an RSA public key in DER, with a modulus of 2048 bits and the smallest exponent.
const MIN_RSA: usize = 268;
/// In bytes: a point on P-256, uncompressed. One byte for the form, then x and y.
const P256: usize = 65;
/// In bytes.
const ED25519: usize = 32;

/// The algorithm that signs tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC with SHA-256. The secret that verifies tokens also signs them.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// Why a key does not fit the algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The secret is short enough to guess.
    #[error(
        "the secret has {0} bytes but needs at least {MIN_SECRET}; make one with: openssl rand -hex 32"
    )]
    Short(usize),
    /// The secret is a key in PEM form. A public key is no secret: everyone who has it could
    /// sign tokens.
    #[error(
        "the secret is a key in PEM form; for a public key choose RS256, ES256 or EdDSA as the algorithm"
    )]
    Pem,
    /// The file is a secret, a private key, a certificate or something else.
    #[error(
        "the key is not a public key in PEM form; extract it from the private key with: openssl pkey -in private.pem -pubout"
    )]
    NotPublic,
    /// The public key is for another algorithm, or too small.
    #[error("the public key does not fit: {0}")]
    Other(&'static str),
}

impl From<Algorithm> for jwt::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Hs256 => Self::HS256,
            Algorithm::Rs256 => Self::RS256,
            Algorithm::Es256 => Self::ES256,
            Algorithm::EdDsa => Self::EdDSA,
        }
    }
}

/// The key that verifies signatures. Fails at start-up for a key that could not verify any
/// signature, rather than with the first token.
pub(super) fn decoding_key(algorithm: Algorithm, key: &[u8]) -> Result<DecodingKey, KeyError> {
    match algorithm {
        Algorithm::Hs256 => Ok(DecodingKey::from_secret(check_secret(key)?)),
        Algorithm::Rs256 => {
            let needed = "RS256 needs an RSA key of at least 2048 bits";
            public_key(key, DecodingKey::from_rsa_pem, MIN_RSA..=usize::MAX, needed)
        }
        Algorithm::Es256 => {
            let needed = "ES256 needs a key on the curve P-256";
            public_key(key, DecodingKey::from_ec_pem, P256..=P256, needed)
        }
        Algorithm::EdDsa => {
            let needed = "EdDSA needs an Ed25519 key";
            public_key(key, DecodingKey::from_ed_pem, ED25519..=ED25519, needed)
        }
    }
}

/// Parses a public key in PEM form whose size in bytes is one of `sizes`.
fn public_key(
    pem: &[u8],
    parse: fn(&[u8]) -> jwt::errors::Result<DecodingKey>,
    sizes: RangeInclusive<usize>,
    needed: &'static str,
) -> Result<DecodingKey, KeyError> {
    // The library would take the wrong part of a private key or a certificate.
    let headers = [
        "-----BEGIN PUBLIC KEY-----",
        "-----BEGIN RSA PUBLIC KEY-----",
    ];
    let text = str::from_utf8(pem).unwrap_or_default().trim_start();
    if !headers.iter().any(|header| text.starts_with(header)) {
        return Err(KeyError::NotPublic);
    }
    let key = parse(pem).map_err(|_| KeyError::Other(needed))?;
    let size = key.try_get_as_bytes().map_or(0, <[u8]>::len);
    if sizes.contains(&size) {
        Ok(key)
    } else {
        Err(KeyError::Other(needed))
    }
}

/// Returns the secret if it is strong enough.
pub(super) fn check_secret(secret: &[u8]) -> Result<&[u8], KeyError> {
    if secret.starts_with(b"-----BEGIN ") {
        Err(KeyError::Pem)
    } else if secret.len() < MIN_SECRET {
        Err(KeyError::Short(secret.len()))
    } else {
        Ok(secret)
    }
}
