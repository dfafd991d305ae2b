use std::ops::RangeInclusive;

use jsonwebtoken::{self as jwt, DecodingKey};
use serde::{Deserialize, Serialize};

/// What HMAC-SHA-256 needs to be as strong as it can be (RFC 7518, section 3.2).
pub(super) const SHORTEST_SECRET: usize = 32;
/// An RSA public key with a modulus of 2048 bits and the smallest exponent, in DER.
const SHORTEST_RSA: usize = 268;
/// A point on P-256, written out: one byte says so, then x and y.
const P256: usize = 65;
const ED25519: usize = 32;

/// By which algorithm tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC with SHA-256: whoever checks tokens can make them, too.
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

/// A key that cannot be one of the algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It could be guessed.
    #[error(
        "the secret has {0} bytes, and needs {SHORTEST_SECRET}; make one with: openssl rand -hex 32"
    )]
    Short(usize),
    /// A public key is no secret: whoever has it could sign.
    #[error("the secret is a key in PEM form; where it is a public one, name another algorithm")]
    Pem,
    /// A secret, a private key, a certificate or something else.
    #[error(
        "this is no public key in PEM form; make it of the private one with: openssl pkey -in private.pem -pubout"
    )]
    NotPublic,
    /// Of another algorithm, or too small.
    #[error("the public key does not do: {0}")]
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

/// The key that checks signatures. What would never check one is found here, and not by
/// the first who shows a token.
pub(super) fn decoding(algorithm: Algorithm, key: &[u8]) -> Result<DecodingKey, KeyError> {
    match algorithm {
        Algorithm::Hs256 => Ok(DecodingKey::from_secret(secret(key)?)),
        Algorithm::Rs256 => {
            let needed = "RS256 needs an RSA key of at least 2048 bits";
            public(
                key,
                DecodingKey::from_rsa_pem,
                SHORTEST_RSA..=usize::MAX,
                needed,
            )
        }
        Algorithm::Es256 => {
            let needed = "ES256 needs a key on the curve P-256";
            public(key, DecodingKey::from_ec_pem, P256..=P256, needed)
        }
        Algorithm::EdDsa => {
            let needed = "EdDSA needs an Ed25519 key";
            public(key, DecodingKey::from_ed_pem, ED25519..=ED25519, needed)
        }
    }
}

/// The public key in this PEM, where it has one of these sizes.
fn public(
    pem: &[u8],
    read: fn(&[u8]) -> jwt::errors::Result<DecodingKey>,
    sizes: RangeInclusive<usize>,
    needed: &'static str,
) -> Result<DecodingKey, KeyError> {
    // Of a private key or a certificate the library would take the wrong part.
    let heads = [
        "-----BEGIN PUBLIC KEY-----",
        "-----BEGIN RSA PUBLIC KEY-----",
    ];
    let text = str::from_utf8(pem).unwrap_or_default().trim_start();
    if !heads.iter().any(|head| text.starts_with(head)) {
        return Err(KeyError::NotPublic);
    }
    let key = read(pem).map_err(|_| KeyError::Other(needed))?;
    let size = key.try_get_as_bytes().map_or(0, <[u8]>::len);
    if sizes.contains(&size) {
        Ok(key)
    } else {
        Err(KeyError::Other(needed))
    }
}

/// The secret, where it does.
pub(super) fn secret(key: &[u8]) -> Result<&[u8], KeyError> {
    if key.starts_with(b"-----BEGIN ") {
        Err(KeyError::Pem)
    } else if key.len() < SHORTEST_SECRET {
        Err(KeyError::Short(key.len()))
    } else {
        Ok(key)
    }
}
