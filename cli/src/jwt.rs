//! Signed tokens: what checks them, and what signs one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use hotswap_api::{Algorithm, Signer};
use serde::{Deserialize, Serialize};

/// How an engine checks tokens that somebody signed, as `hotswap.toml` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Jwt {
    /// By which algorithm they are signed.
    pub algorithm: Algorithm,
    /// A file with the secret, for HS256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// A file with the public key in PEM form, for all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key_file: Option<PathBuf>,
    /// Who signs them: their `iss`.
    pub issuer: String,
    /// What they are for: one of their `aud`.
    pub audience: String,
}

impl Jwt {
    /// The file in the folder of `hotswap dev` that holds its secret.
    pub const DEV_SECRET: &str = "jwt-secret";

    /// That of the `hotswap dev` in this folder.
    pub fn of_dev(folder: &Path) -> Self {
        Self {
            algorithm: Algorithm::Hs256,
            secret_file: Some(folder.join(Self::DEV_SECRET)),
            public_key_file: None,
            issuer: "hotswap".to_owned(),
            audience: "hotswap".to_owned(),
        }
    }

    /// What checks them.
    ///
    /// # Errors
    /// Where the key cannot be read, or is not one of the algorithm.
    pub fn verifier(&self) -> Result<hotswap_api::JwtVerifier> {
        let file = self.key_file()?;
        let key = read(file)?;
        let jwt = hotswap_api::JwtVerifier::new(self.algorithm, &key, &self.issuer, &self.audience);
        jwt.with_context(|| format!("the key in {} does not do", file.display()))
    }

    /// What signs one.
    ///
    /// # Errors
    /// Where somebody else signs them, too; and where the secret cannot be read or does not
    /// do.
    pub fn signer(&self) -> Result<Signer> {
        ensure!(
            self.algorithm == Algorithm::Hs256,
            "the engine has the public key alone; ask the issuer {} for a token",
            self.issuer
        );
        let file = self.key_file()?;
        let signer = Signer::new(&read(file)?, &self.issuer, &self.audience);
        signer.with_context(|| format!("the key in {} does not do", file.display()))
    }

    fn key_file(&self) -> Result<&Path> {
        for (key, value) in [("issuer", &self.issuer), ("audience", &self.audience)] {
            ensure!(!value.is_empty(), "jwt.{key} is empty; name it");
        }
        let secret = self.algorithm == Algorithm::Hs256;
        match (&self.secret_file, &self.public_key_file) {
            (Some(file), None) if secret => Ok(file),
            (None, Some(file)) if !secret => Ok(file),
            _ if secret => bail!("jwt.algorithm HS256 takes jwt.secretFile, and no other key"),
            _ => bail!("this jwt.algorithm takes jwt.publicKeyFile, and no other key"),
        }
    }
}

/// The key without the line end that files have.
fn read(file: &Path) -> Result<Vec<u8>> {
    let key = fs::read(file).with_context(|| format!("cannot read the key in {}", file.display()));
    Ok(key?.trim_ascii_end().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAElOK8Tr5qzxZNwB1Mwk0OKobjvzwa
BoURL+YxHkdFmfl2XFFS3miaedUshvyG1Po5+sBY9cuDFXUoU04qUGcWFw==
-----END PUBLIC KEY-----
";

    /// Of a folder with a secret and a public key.
    fn of(folder: &Path, algorithm: Algorithm, secret: bool, public: bool) -> Jwt {
        let (secret_file, public_key_file) = (folder.join("secret"), folder.join("key.pem"));
        fs::write(&secret_file, "0123456789abcdef0123456789abcdef\n").unwrap();
        fs::write(&public_key_file, EC_KEY).unwrap();
        Jwt {
            algorithm,
            secret_file: secret.then_some(secret_file),
            public_key_file: public.then_some(public_key_file),
            issuer: "i".to_owned(),
            audience: "a".to_owned(),
        }
    }

    #[test]
    fn each_algorithm_takes_its_own_key_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let told = |algorithm, secret, public| {
            let jwt = of(folder.path(), algorithm, secret, public);
            jwt.verifier()
                .map(drop)
                .map_err(|error| format!("{error:#}"))
        };
        assert_eq!(told(Algorithm::Hs256, true, false), Ok(()));
        assert_eq!(told(Algorithm::Es256, false, true), Ok(()));
        for (secret, public) in [(false, false), (false, true), (true, true)] {
            let error = told(Algorithm::Hs256, secret, public).unwrap_err();
            assert!(error.contains("secretFile"), "{error}");
        }
        for (secret, public) in [(false, false), (true, false), (true, true)] {
            let error = told(Algorithm::Es256, secret, public).unwrap_err();
            assert!(error.contains("publicKeyFile"), "{error}");
        }
        let error = told(Algorithm::EdDsa, false, true).unwrap_err();
        assert!(
            error.contains("key.pem") && error.contains("Ed25519"),
            "{error}"
        );
    }

    #[test]
    fn only_a_secret_signs() {
        let folder = tempfile::tempdir().unwrap();
        let secret = of(folder.path(), Algorithm::Hs256, true, false);
        assert!(secret.signer().is_ok());
        let public = of(folder.path(), Algorithm::Es256, false, true);
        let error = public.signer().unwrap_err().to_string();
        assert!(error.contains("issuer"), "{error}");
    }

    #[test]
    fn what_is_missing_or_too_short_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let told = |jwt: &Jwt| format!("{:#}", jwt.verifier().unwrap_err());
        let mut jwt = of(folder.path(), Algorithm::Hs256, true, false);
        fs::write(folder.path().join("secret"), "short\n").unwrap();
        let error = told(&jwt);
        assert!(
            error.contains("secret") && error.contains("5 bytes"),
            "{error}"
        );
        jwt.secret_file = Some(folder.path().join("nowhere"));
        assert!(told(&jwt).contains("nowhere"));
        jwt.audience.clear();
        assert!(told(&jwt).contains("jwt.audience"));
    }
}
