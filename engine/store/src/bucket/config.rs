//! How a bucket is configured.

use std::path::PathBuf;
use std::time::Duration;

use hotswap_common::Secret;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{Certificate, ClientOptions, RetryConfig};

use crate::blobs::SharedError;

/// How long a connection may take, and a request with its answer: 8 MiB at most.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How often, and how long, a request is repeated that the server did not answer, or answered with
/// an error of its own.
const RETRIES: usize = 5;
const RETRY_TIMEOUT: Duration = Duration::from_secs(90);

/// How a bucket is configured.
#[derive(Debug, Clone)]
pub struct BucketConfig {
    /// Its name.
    pub name: String,
    /// What the names of all objects begin with, up to a slash. Installations with different ones
    /// share a bucket.
    pub prefix: String,
    /// The URL of the server. `None` for Amazon's.
    pub endpoint: Option<String>,
    /// The region. `None`: the region in the environment variables, or `us-east-1`.
    pub region: Option<String>,
    /// `None` for those of the environment: variables (`AWS_ACCESS_KEY_ID`, …), the service account
    /// of a pod, or the role of a machine.
    pub keys: Option<Keys>,
    /// The certificate authority of the server, in PEM. `None` for those of the system.
    pub ca_file: Option<PathBuf>,
}

/// What identifies the engine to the server.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Its name.
    pub access_key_id: String,
    /// What it signs requests with.
    pub secret_key: Secret,
}

impl BucketConfig {
    pub(super) fn prefix(&self) -> Result<Path, SharedError> {
        Ok(Path::parse(&self.prefix)?)
    }

    pub(super) fn build(&self) -> Result<AmazonS3, SharedError> {
        let mut options = ClientOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_timeout(REQUEST_TIMEOUT);
        if let Some(file) = &self.ca_file {
            let pem = std::fs::read(file)
                .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
            for certificate in Certificate::from_pem_bundle(&pem)? {
                options = options.with_root_certificate(certificate);
            }
        }
        let mut builder = match &self.keys {
            // Nothing of the environment stands beside configured keys.
            Some(keys) => AmazonS3Builder::new()
                .with_access_key_id(&keys.access_key_id)
                .with_secret_access_key(keys.secret_key.expose()),
            None => AmazonS3Builder::from_env(),
        };
        if let Some(endpoint) = &self.endpoint {
            options = options.with_allow_http(endpoint.starts_with("http://"));
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        let retry = RetryConfig {
            max_retries: RETRIES,
            retry_timeout: RETRY_TIMEOUT,
            ..RetryConfig::default()
        };
        Ok(builder
            .with_bucket_name(&self.name)
            .with_client_options(options)
            .with_retry(retry)
            .build()?)
    }
}
