use std::path::PathBuf;

use anyhow::{Result, ensure};
use hotswap_store::BucketConfig;
use hotswap_store::bucket::Keys;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret_file;

/// Where artifacts are kept. Without a bucket, in the store: in `dataDir`, or in the memory of the
/// server that engines share. With one, in the bucket, and `dataDir` is a cache of it. See
/// docs/SCALING.md.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Artifacts {
    /// The name of a bucket of Amazon S3, or of a server with its interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"hotswap")]
    pub bucket: Option<String>,
    /// What the names of all objects begin with, without a slash at the end. Installations with
    /// different ones share a bucket.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(example = &"production/artifacts")]
    pub prefix: String,
    /// The URL of the server, as `https://host:port`. Without it, Amazon's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"https://s3.example.org")]
    pub endpoint: Option<String>,
    /// The region of the bucket. Default: the region in the environment variables, or `us-east-1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"eu-central-1")]
    pub region: Option<String>,
    /// The id of the key that requests are signed with. Without it, what the environment has:
    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, the service account of a pod, or the role of
    /// a machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"AKIAIOSFODNN7EXAMPLE")]
    pub access_key_id: Option<String>,
    /// A file with that key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/hotswap/bucket-key")]
    pub secret_key_file: Option<PathBuf>,
    /// The certificate authority of the server, in PEM. Without it, those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/hotswap/bucket-ca.pem")]
    pub ca_file: Option<PathBuf>,
}

impl Artifacts {
    /// Checks what the types do not say.
    ///
    /// # Errors
    /// If a value makes no sense, or has no meaning without another one.
    pub fn check(&self) -> Result<()> {
        if self.bucket.is_none() {
            ensure!(
                *self == Self::default(),
                "artifacts.bucket is missing: the other keys of [artifacts] are for a bucket"
            );
            return Ok(());
        }
        ensure!(
            self.access_key_id.is_some() == self.secret_key_file.is_some(),
            "artifacts.accessKeyId and artifacts.secretKeyFile belong together: set both, or neither"
        );
        let is_url = |url: &String| url.starts_with("https://") || url.starts_with("http://");
        ensure!(
            self.endpoint.as_ref().is_none_or(is_url),
            "artifacts.endpoint must be a URL, such as https://s3.example.org"
        );
        ensure!(
            self.endpoint.as_ref().is_none_or(|url| !url.contains('@')),
            "artifacts.endpoint must not have a user or a password: they are \
             artifacts.accessKeyId and in the file artifacts.secretKeyFile"
        );
        Ok(())
    }

    /// How the bucket is reached. `None` where there is none.
    ///
    /// # Errors
    /// If the key cannot be read.
    pub fn resolve(&self) -> Result<Option<BucketConfig>> {
        let Some(name) = &self.bucket else {
            return Ok(None);
        };
        let keys = match (&self.access_key_id, &self.secret_key_file) {
            (Some(id), Some(file)) => Some(Keys {
                access_key_id: id.clone(),
                secret_key: secret_file::read(file)?,
            }),
            _ => None,
        };
        Ok(Some(BucketConfig {
            name: name.clone(),
            prefix: self.prefix.clone(),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            keys,
            ca_file: self.ca_file.clone(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_without_what_they_belong_to_are_refused() {
        Artifacts::default().check().unwrap();
        let bucket = Artifacts {
            bucket: Some("hotswap".to_owned()),
            ..Artifacts::default()
        };
        bucket.check().unwrap();
        let with = |change: fn(&mut Artifacts)| {
            let mut artifacts = bucket.clone();
            change(&mut artifacts);
            artifacts.check().unwrap_err().to_string()
        };
        for (error, named) in [
            (
                with(|it| (it.bucket, it.region) = (None, Some("eu".to_owned()))),
                "artifacts.bucket is missing",
            ),
            (
                with(|it| it.access_key_id = Some("id".to_owned())),
                "artifacts.secretKeyFile",
            ),
            (
                with(|it| it.endpoint = Some("s3.example.org".to_owned())),
                "must be a URL",
            ),
            (
                with(|it| it.endpoint = Some("https://id:key@s3.example.org".to_owned())),
                "must not have a user",
            ),
        ] {
            assert!(error.contains(named), "{error}");
            assert!(!error.contains("id:key"), "{error}");
        }
    }

    #[test]
    fn the_key_comes_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "secret\n").unwrap();
        let artifacts = Artifacts {
            bucket: Some("hotswap".to_owned()),
            access_key_id: Some("id".to_owned()),
            secret_key_file: Some(file),
            ..Artifacts::default()
        };
        let keys = artifacts.resolve().unwrap().unwrap().keys.unwrap();
        assert_eq!(keys.secret_key.expose(), "secret");
        assert!(!format!("{keys:?}").contains("secret\""), "{keys:?}");
    }
}
