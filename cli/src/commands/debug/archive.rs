use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use hotswap_core::Digest;
use serde_json::{Value, json};

use crate::format;

/// A `tar.gz` of files in one folder, with a manifest that names each file with its digest, and what
/// is missing with the reason.
pub struct Archive {
    tar: tar::Builder<GzEncoder<Vec<u8>>>,
    created_at: SystemTime,
    files: Vec<Value>,
    missing: Vec<Value>,
}

/// The folder in the archive.
const FOLDER: &str = "hotswap-debug";

impl Archive {
    /// An empty archive.
    pub fn new(created_at: SystemTime) -> Self {
        Self {
            tar: tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default())),
            created_at,
            files: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// Adds a file, or notes why there is none.
    ///
    /// # Errors
    /// Only if the file is too large for the format.
    pub fn add(
        &mut self,
        name: &str,
        content: Result<Vec<u8>, impl Into<anyhow::Error>>,
    ) -> Result<()> {
        match content {
            Ok(content) => {
                self.append(name, &content)?;
                let digest = Digest::of(&content).to_string();
                let file = json!({ "name": name, "bytes": content.len(), "digest": digest });
                self.files.push(file);
            }
            Err(error) => {
                let reason = format!("{:#}", error.into());
                self.missing.push(json!({ "name": name, "reason": reason }));
            }
        }
        Ok(())
    }

    /// The whole archive, and its manifest, to which `about` is added.
    ///
    /// # Errors
    /// Only if the manifest is too large for the format.
    pub fn finish(mut self, about: Value) -> Result<(Vec<u8>, Value)> {
        let mut manifest = json!({
            "createdAt": format::rfc3339(self.created_at),
            "hotswap": env!("CARGO_PKG_VERSION"),
            "files": std::mem::take(&mut self.files),
            "missing": std::mem::take(&mut self.missing),
        });
        if let (Some(manifest), Value::Object(about)) = (manifest.as_object_mut(), about) {
            manifest.extend(about);
        }
        self.append("manifest.json", format!("{manifest:#}\n").as_bytes())?;
        let bytes = self.tar.into_inner()?.finish()?;
        Ok((bytes, manifest))
    }

    fn append(&mut self, name: &str, content: &[u8]) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        let since = self.created_at.duration_since(UNIX_EPOCH);
        header.set_mtime(since.unwrap_or_default().as_secs());
        let path = format!("{FOLDER}/{name}");
        self.tar.append_data(&mut header, path, content)?;
        Ok(())
    }
}
