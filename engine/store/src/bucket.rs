//! Blobs in a bucket with the interface of Amazon S3.

mod config;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use hotswap_core::{Clock as _, Digest, SystemClock};
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutPayload};

use crate::StoredBlob;
use crate::blobs::{SharedBlobs, SharedError, Upload};

pub use config::{BucketConfig, Keys};

/// The bytes of a chunk. S3 takes no part of an upload, but the last one, that is smaller than 5 MiB.
const CHUNK: u64 = 8 << 20;

/// Why a bucket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration makes no sense, or a file that it names cannot be read.
    #[error("the bucket is not configured right")]
    Config(#[source] SharedError),
    /// It cannot be listed.
    #[error(
        "the bucket {bucket} cannot be listed: check that it exists, and that the keys may list, read, write and \
         delete what is in it"
    )]
    Unusable {
        /// Its name.
        bucket: String,
        /// What the server says.
        #[source]
        source: object_store::Error,
    },
}

/// [`SharedBlobs`] in a bucket: an object for each blob, with the digest as its name. A handle:
/// clones are cheap.
///
/// An upload of several parts becomes an object at once, at its end. What an engine leaves behind
/// that is killed in an upload takes room until the bucket's own rule for incomplete uploads removes
/// it.
#[derive(Debug, Clone)]
pub struct Bucket {
    store: Arc<AmazonS3>,
    prefix: Path,
}

impl Bucket {
    /// Opens a bucket.
    ///
    /// # Errors
    /// If the configuration makes no sense, or the bucket cannot be listed.
    pub async fn open(config: &BucketConfig) -> Result<Self, Error> {
        let bucket = Self {
            store: Arc::new(config.build().map_err(Error::Config)?),
            prefix: config.prefix().map_err(Error::Config)?,
        };
        let first = bucket.store.list(Some(&bucket.prefix)).next().await;
        first.transpose().map_err(|source| Error::Unusable {
            bucket: config.name.clone(),
            source,
        })?;
        Ok(bucket)
    }

    fn path(&self, digest: Digest) -> Path {
        self.prefix.clone().join(digest.hex())
    }
}

#[async_trait]
impl SharedBlobs for Bucket {
    fn chunk_bytes(&self) -> u64 {
        CHUNK
    }

    async fn upload(&self, digest: Digest, size: u64) -> Result<Box<dyn Upload>, SharedError> {
        let path = self.path(digest);
        if size <= CHUNK {
            return Ok(Box::new(SmallUpload {
                store: Arc::clone(&self.store),
                path,
                content: Vec::new(),
            }));
        }
        let parts = self.store.put_multipart(&path).await?;
        Ok(Box::new(LargeUpload { parts: Some(parts) }))
    }

    async fn size(&self, digest: Digest) -> Result<Option<u64>, SharedError> {
        let found = none_if_missing(self.store.head(&self.path(digest)).await)?;
        Ok(found.map(|found| found.size))
    }

    async fn chunk(&self, digest: Digest, number: u64) -> Result<Option<Vec<u8>>, SharedError> {
        let start = number.saturating_mul(CHUNK);
        let range = start..start.saturating_add(CHUNK);
        let read = self.store.get_range(&self.path(digest), range).await;
        Ok(none_if_missing(read)?.map(Vec::from))
    }

    async fn list(&self) -> Result<Vec<StoredBlob>, SharedError> {
        // Not what lies deeper: that of other installations.
        let listed = self.store.list_with_delimiter(Some(&self.prefix)).await?;
        let blob = |object: ObjectMeta| {
            let name = object.location.filename()?;
            Some(StoredBlob {
                // Others may have other objects here.
                digest: format!("sha256:{name}").parse().ok()?,
                size: object.size,
                age: age(&object),
            })
        };
        Ok(listed.objects.into_iter().filter_map(blob).collect())
    }

    async fn remove(&self, digest: Digest, unchanged_for: Duration) -> Result<bool, SharedError> {
        let path = self.path(digest);
        // The server does not say whether there was anything to delete.
        let Some(found) = none_if_missing(self.store.head(&path).await)? else {
            return Ok(false);
        };
        if !unchanged_for.is_zero() && age(&found) < unchanged_for {
            return Ok(false);
        }
        // Without a condition: few servers support one here. An engine that uploads the blob at this
        // moment looks for it after it has recorded it.
        none_if_missing(self.store.delete(&path).await)?;
        Ok(true)
    }
}

/// How long ago an object was written. Zero for one of the future.
fn age(object: &ObjectMeta) -> Duration {
    let written = u64::try_from(object.last_modified.timestamp_millis()).unwrap_or(0);
    Duration::from_millis(SystemClock.now().millis().saturating_sub(written))
}

fn none_if_missing<T>(
    result: Result<T, object_store::Error>,
) -> Result<Option<T>, object_store::Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Of one chunk at most.
struct SmallUpload {
    store: Arc<AmazonS3>,
    path: Path,
    content: Vec<u8>,
}

#[async_trait]
impl Upload for SmallUpload {
    async fn put(&mut self, chunk: Vec<u8>) -> Result<(), SharedError> {
        self.content.extend(chunk);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<(), SharedError> {
        self.store.put(&self.path, self.content.into()).await?;
        Ok(())
    }
}

struct LargeUpload {
    /// `None` once it is finished.
    parts: Option<Box<dyn MultipartUpload>>,
}

#[async_trait]
impl Upload for LargeUpload {
    async fn put(&mut self, chunk: Vec<u8>) -> Result<(), SharedError> {
        if let Some(parts) = &mut self.parts {
            parts.put_part(PutPayload::from(chunk)).await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<(), SharedError> {
        if let Some(parts) = &mut self.parts {
            parts.complete().await?;
        }
        self.parts = None;
        Ok(())
    }
}

impl Drop for LargeUpload {
    fn drop(&mut self) {
        let (Some(mut parts), Ok(runtime)) =
            (self.parts.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        // The server keeps the parts of an upload until it is told.
        runtime.spawn(async move {
            if let Err(error) = parts.abort().await {
                tracing::debug!(%error, "an upload that was cut off stays in the bucket");
            }
        });
    }
}
