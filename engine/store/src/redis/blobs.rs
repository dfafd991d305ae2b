//! [`SharedBlobs`] for [`Redis`].

use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::Digest;

use super::commands::{Commands, random_word};
use super::error::Error;
use super::reply::{Args, Reply};
use super::{Redis, script};
use crate::StoredBlob;
use crate::blobs::{SharedBlobs, SharedError, Upload};

/// Small enough that no other command waits for it.
pub(super) const CHUNK: u64 = 256 << 10;

/// A list of chunks with a name of its own, until it gets the name of the blob.
struct RedisUpload {
    commands: Commands,
    word: String,
    digest: Digest,
    size: u64,
    /// How many chunks.
    stored: u64,
}

#[async_trait]
impl Upload for RedisUpload {
    async fn put(&mut self, chunk: Vec<u8>) -> Result<(), SharedError> {
        let args = Args::new().text("part").text("").text(&self.word);
        let args = args.number(self.stored).bytes(chunk);
        self.commands.write(&script::BLOB, args).await?;
        self.stored += 1;
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<(), SharedError> {
        let args = Args::new()
            .text("finish")
            .text(self.digest.to_string())
            .text(&self.word)
            .number(self.size.div_ceil(CHUNK))
            .number(self.size);
        let finished = self.commands.write(&script::BLOB, args).await?;
        match finished.word()? {
            "finished" => Ok(()),
            _ => Err(Error::Answer("a chunk of the upload is missing").into()),
        }
    }
}

#[async_trait]
impl SharedBlobs for Redis {
    fn chunk_bytes(&self) -> u64 {
        CHUNK
    }

    async fn upload(&self, digest: Digest, size: u64) -> Result<Box<dyn Upload>, SharedError> {
        Ok(Box::new(RedisUpload {
            commands: self.inner.commands.clone(),
            word: random_word(),
            digest,
            size,
            stored: 0,
        }))
    }

    async fn size(&self, digest: Digest) -> Result<Option<u64>, SharedError> {
        let args = Args::new().text("size").text(digest.to_string());
        let size = self.inner.commands.read(&script::BLOB, args).await?;
        let size = Reply::optional(size)?;
        Ok(size.map(|size| size.number(0)).transpose()?)
    }

    async fn chunk(&self, digest: Digest, number: u64) -> Result<Option<Vec<u8>>, SharedError> {
        let args = Args::new()
            .text("chunk")
            .text(digest.to_string())
            .number(number);
        Ok(Reply::single(
            self.inner.commands.read(&script::BLOB, args).await?,
        )?)
    }

    async fn list(&self) -> Result<Vec<StoredBlob>, SharedError> {
        let args = Args::new().text("list").text("");
        let found = self.inner.commands.read_list(&script::BLOB, args).await?;
        let blob = |index| {
            Ok(StoredBlob {
                digest: found.parse(index, "a digest")?,
                size: found.number(index + 1)?,
                age: Duration::from_millis(found.number(index + 2)?),
            })
        };
        let blobs = (0..found.len() / 3).map(|one| blob(3 * one));
        Ok(blobs.collect::<Result<_, Error>>()?)
    }

    async fn remove(&self, digest: Digest, unchanged_for: Duration) -> Result<bool, SharedError> {
        let unchanged_for = u64::try_from(unchanged_for.as_millis()).unwrap_or(u64::MAX);
        let args = Args::new().text("remove").text(digest.to_string());
        let args = args.number(unchanged_for);
        let removed = self.inner.commands.write(&script::BLOB, args).await?;
        Ok(removed.word()? == "removed")
    }
}
