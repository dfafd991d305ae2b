use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::Header;

use super::layer::Layer;
use super::{Commit, USER};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Bytes that are named by their own digest.
#[derive(Debug)]
pub(super) struct Blob {
    hash: String,
    content: Vec<u8>,
}

/// An image in the form of the Open Container Initiative: a manifest that names the configuration
/// and the layers.
#[derive(Debug)]
pub(super) struct Image {
    manifest: Blob,
    others: Vec<Blob>,
}

impl Blob {
    pub(super) fn new(content: Vec<u8>) -> Self {
        Self {
            hash: hash(&content),
            content,
        }
    }

    fn digest(&self) -> String {
        format!("sha256:{}", self.hash)
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": self.digest(), "size": self.content.len() })
    }
}

/// SHA-256, in hexadecimal.
pub(super) fn hash(content: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(content) {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl Image {
    pub(super) fn new(
        layers: [Layer; 2],
        architecture: &str,
        version: &str,
        commit: &Commit,
    ) -> Self {
        let (archives, compressed): (Vec<_>, Vec<_>) = layers.iter().map(Layer::pack).unzip();
        let labels = json!({
            "org.opencontainers.image.title": "hotswap",
            "org.opencontainers.image.description":
                "An engine that rolls module versions out to fleets of nodes, and the nodes",
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.version": version,
            "org.opencontainers.image.revision": commit.revision,
            "org.opencontainers.image.created": commit.date,
        });
        let histories = ["libraries, certificates and users", "hotswap"];
        let config = json!({
            "created": commit.date,
            "architecture": architecture,
            "os": "linux",
            "config": {
                "User": format!("{USER}:{USER}"),
                "ExposedPorts": { "5000/tcp": {}, "8080/tcp": {}, "8081/tcp": {} },
                "Env": ["PATH=/usr/bin"],
                "Entrypoint": ["/usr/bin/hotswap"],
                "WorkingDir": "/var/lib/hotswap",
                "StopSignal": "SIGTERM",
                "Labels": labels,
            },
            "rootfs": {
                "type": "layers",
                "diff_ids": archives.iter().map(Blob::digest).collect::<Vec<_>>(),
            },
            "history": histories.map(|what| json!({
                "created": commit.date,
                "created_by": format!("cargo xtask image: {what}"),
            })),
        });
        let config = Blob::new(config.to_string().into_bytes());
        let layers: Vec<_> = compressed
            .iter()
            .map(|blob| blob.descriptor(LAYER))
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(CONFIG),
            "layers": layers,
            "annotations": labels,
        });
        let mut others = compressed;
        others.push(config);
        Self {
            manifest: Blob::new(manifest.to_string().into_bytes()),
            others,
        }
    }

    /// The digest by which registries and charts name the image.
    pub(super) fn digest(&self) -> String {
        self.manifest.digest()
    }

    /// What a registry stores and a node downloads of the layers and the configuration, in bytes.
    pub(super) fn compressed_size(&self) -> usize {
        self.others.iter().map(|blob| blob.content.len()).sum()
    }

    /// Writes the image as one archive, which `docker load`, `ctr images import` and
    /// `skopeo copy oci-archive:…` read.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn write(&self, name: &str, path: &Path) -> Result<()> {
        let mut manifest = self.manifest.descriptor(MANIFEST);
        let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        manifest["annotations"] = json!({
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": tag,
        });
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = File::create(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        let mut archive = tar::Builder::new(file);
        let mut append = |name: &str, content: &[u8]| {
            let mut header = Header::new_gnu();
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, name, content)
        };
        append("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        append("index.json", index.to_string().as_bytes())?;
        for blob in self.others.iter().chain([&self.manifest]) {
            append(&format!("blobs/sha256/{}", blob.hash), &blob.content)?;
        }
        archive.into_inner()?.sync_all()?;
        Ok(())
    }
}
