//! [`SharedBlobs`] for [`Redis`].

use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::Digest;

use super::error::Error;
use super::reply::{Args, Reply};
use super::{Redis, script};
use crate::StoredBlob;
use crate::blobs::{SharedBlobs, SharedError};

/// Small enough that no other command waits for it.
pub(super) const CHUNK: u64 = 256 << 10;

#[async_trait]
impl SharedBlobs for Redis {
    fn chunk_bytes(&self) -> u64 {
        CHUNK
    }

    async fn put_chunk(
        &self,
        upload: &str,
        number: u64,
        chunk: Vec<u8>,
    ) -> Result<(), SharedError> {
        let args = Args::new()
            .text("part")
            .text("")
            .text(upload)
            .number(number)
            .bytes(chunk);
        self.inner.commands.write(&script::BLOB, args).await?;
        Ok(())
    }

    async fn finish(&self, upload: &str, digest: Digest, size: u64) -> Result<(), SharedError> {
        let args = Args::new()
            .text("finish")
            .text(digest.to_string())
            .text(upload)
            .number(size.div_ceil(CHUNK))
            .number(size);
        let finished = self.inner.commands.write(&script::BLOB, args).await?;
        match finished.word()? {
            "finished" => Ok(()),
            _ => Err(Error::Answer("a chunk of the upload is missing").into()),
        }
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

    async fn remove(&self, digest: Digest) -> Result<bool, SharedError> {
        let args = Args::new().text("remove").text(digest.to_string());
        let removed = self.inner.commands.write(&script::BLOB, args).await?;
        Ok(removed.word()? == "removed")
    }
}
