//! Uploads.

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use anyhow::Context;
use hotswap_core::ModuleName;
use reqwest::Method;
use semver::Version;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Client, Error, ModuleVersion, StrategyRow, UPLOAD_TIMEOUT};

impl Client {
    /// Uploads a version of a module.
    pub async fn upload_module(
        &self,
        module: &ModuleName,
        version: &Version,
        component: reqwest::Body,
    ) -> Result<Value, Error> {
        let path = format!("/modules/{module}/versions/{version}");
        self.upload::<ModuleVersion>(Method::PUT, &path, component)
            .await
    }

    /// Uploads a strategy.
    pub async fn upload_strategy(&self, component: reqwest::Body) -> Result<Value, Error> {
        self.upload::<StrategyRow>(Method::POST, "/strategies", component)
            .await
    }

    pub(super) async fn upload<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        component: reqwest::Body,
    ) -> Result<Value, Error> {
        let request = self
            .request(method, path)
            .header("content-type", "application/wasm")
            .body(component)
            .timeout(UPLOAD_TIMEOUT);
        self.fetch_checked::<T>(request).await
    }
}

/// The body of an upload, streamed from a file.
///
/// # Errors
/// Where the file cannot be opened, or is none: a folder, or a device, which may have no end.
pub async fn file_body(path: &Path) -> anyhow::Result<reqwest::Body> {
    let file = tokio::fs::File::open(path)
        .await
        .with_context(|| format!("cannot open {}", path.display()))?;
    let metadata = file.metadata().await;
    let kind = metadata.map(|metadata| metadata.file_type());
    let kind = kind.with_context(|| format!("cannot read {}", path.display()))?;
    anyhow::ensure!(!kind.is_dir(), "{} is a folder", path.display());
    // A pipe is fine: what feeds it ends.
    let is_device = kind.is_char_device() || kind.is_block_device();
    anyhow::ensure!(!is_device, "{} is a device, not a file", path.display());
    Ok(reqwest::Body::wrap_stream(
        tokio_util::io::ReaderStream::new(file),
    ))
}
