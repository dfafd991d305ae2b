//! Validating and signing JSON Web Tokens.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use hotswap_api::{Algorithm, Signer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bytes of an issuer or an audience. A token travels in a header.
const MAX_CLAIM: usize = 1024;

/// How an engine validates signed tokens, as `hotswap.toml` spells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Jwt {
    /// The algorithm of the signatures: `HS256`, `RS256`, `ES256` or `EdDSA`. Required.
    #[schemars(with = "String", example = &"HS256")]
    pub algorithm: Algorithm,
    /// A file with the shared secret. Required for HS256, and only allowed there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/hotswap/jwt-secret")]
    pub secret_file: Option<PathBuf>,
    /// A file with the public key in PEM form. Required for all algorithms but HS256.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/hotswap/issuer.pem")]
    pub public_key_file: Option<PathBuf>,
    /// Who signs the tokens: the required value of their claim `iss`. Required.
    #[schemars(example = &"https://login.example.org")]
    pub issuer: String,
    /// What the tokens are for: a required value in their claim `aud`. Required.
    #[schemars(example = &"hotswap")]
    pub audience: String,
}

impl Jwt {
    /// The file in the folder of `hotswap dev` that holds its secret.
    pub const DEV_SECRET: &str = "jwt-secret";

    /// The configuration of the `hotswap dev` in this folder.
    pub fn for_dev(folder: &Path) -> Self {
        Self {
            algorithm: Algorithm::Hs256,
            secret_file: Some(folder.join(Self::DEV_SECRET)),
            public_key_file: None,
            issuer: "hotswap".to_owned(),
            audience: "hotswap".to_owned(),
        }
    }

    /// Validates tokens.
    ///
    /// # Errors
    /// Where the key cannot be read, or does not fit the algorithm.
    pub fn verifier(&self) -> Result<hotswap_api::JwtVerifier> {
        let file = self.key_file()?;
        let key = read_key(file)?;
        let jwt = hotswap_api::JwtVerifier::new(self.algorithm, &key, &self.issuer, &self.audience);
        jwt.with_context(|| format!("cannot use the key in {}", file.display()))
    }

    /// Signs tokens.
    ///
    /// # Errors
    /// Where the engine has only a public key, or the secret cannot be read or used.
    pub fn signer(&self) -> Result<Signer> {
        ensure!(
            self.algorithm == Algorithm::Hs256,
            "the engine has only the public key; ask the issuer {} for a token",
            self.issuer
        );
        let file = self.key_file()?;
        let signer = Signer::new(&read_key(file)?, &self.issuer, &self.audience);
        signer.with_context(|| format!("cannot use the key in {}", file.display()))
    }

    /// Checks that issuer and audience are given and short enough for the claims of a token.
    ///
    /// # Errors
    /// Names the key that is empty or too long.
    pub(super) fn check(&self) -> Result<()> {
        for (key, value) in [("issuer", &self.issuer), ("audience", &self.audience)] {
            ensure!(!value.is_empty(), "jwt.{key} is empty; set it");
            ensure!(
                value.len() <= MAX_CLAIM,
                "jwt.{key} has {} bytes; use at most {MAX_CLAIM}",
                value.len()
            );
        }
        Ok(())
    }

    fn key_file(&self) -> Result<&Path> {
        self.check()?;
        let is_symmetric = self.algorithm == Algorithm::Hs256;
        match (&self.secret_file, &self.public_key_file) {
            (Some(file), None) if is_symmetric => Ok(file),
            (None, Some(file)) if !is_symmetric => Ok(file),
            _ if is_symmetric => {
                bail!("jwt.algorithm HS256 needs jwt.secretFile, and no other key")
            }
            _ => bail!("this jwt.algorithm needs jwt.publicKeyFile, and no other key"),
        }
    }
}

/// The key in a file, without the line end.
fn read_key(file: &Path) -> Result<Vec<u8>> {
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

    /// A configuration in a folder with a secret and a public key.
    fn jwt(folder: &Path, algorithm: Algorithm, secret: bool, public: bool) -> Jwt {
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
    fn each_algorithm_needs_its_own_key_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let verify = |algorithm, secret, public| {
            let jwt = jwt(folder.path(), algorithm, secret, public);
            jwt.verifier()
                .map(drop)
                .map_err(|error| format!("{error:#}"))
        };
        assert_eq!(verify(Algorithm::Hs256, true, false), Ok(()));
        assert_eq!(verify(Algorithm::Es256, false, true), Ok(()));
        for (secret, public) in [(false, false), (false, true), (true, true)] {
            let error = verify(Algorithm::Hs256, secret, public).unwrap_err();
            assert!(error.contains("secretFile"), "{error}");
        }
        for (secret, public) in [(false, false), (true, false), (true, true)] {
            let error = verify(Algorithm::Es256, secret, public).unwrap_err();
            assert!(error.contains("publicKeyFile"), "{error}");
        }
        let error = verify(Algorithm::EdDsa, false, true).unwrap_err();
        assert!(
            error.contains("key.pem") && error.contains("Ed25519"),
            "{error}"
        );
    }

    #[test]
    fn signing_needs_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let secret = jwt(folder.path(), Algorithm::Hs256, true, false);
        assert!(secret.signer().is_ok());
        let public = jwt(folder.path(), Algorithm::Es256, false, true);
        let error = public.signer().unwrap_err().to_string();
        assert!(error.contains("issuer"), "{error}");
    }

    #[test]
    fn errors_name_what_is_missing_or_too_short() {
        let folder = tempfile::tempdir().unwrap();
        let error = |jwt: &Jwt| format!("{:#}", jwt.verifier().unwrap_err());
        let mut jwt = jwt(folder.path(), Algorithm::Hs256, true, false);
        fs::write(folder.path().join("secret"), "short\n").unwrap();
        let message = error(&jwt);
        assert!(
            message.contains("secret") && message.contains("5 bytes"),
            "{message}"
        );
        jwt.secret_file = Some(folder.path().join("nowhere"));
        assert!(error(&jwt).contains("nowhere"));
        jwt.audience.clear();
        assert!(error(&jwt).contains("jwt.audience"));
    }
}
