//! `/api/v1/artifacts`.

mod byte_range;

use std::io::SeekFrom;

use hotswap_core::Digest;
use poem::web::Data;
use poem_openapi::param::{Header, Path};
use poem_openapi::payload::Binary;
use poem_openapi::{ApiResponse, OpenApi};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use self::byte_range::ByteRange;
use super::tag::Tag;
use crate::context::Context;
use crate::extract::{NodeToken, Parsed};
use crate::problem::{
    AUTH, BAD_REQUEST, Failure, Kind, NOT_FOUND, Problem, RANGE_NOT_SATISFIABLE, UNAVAILABLE,
};

/// Artifacts are named by their digest.
const CACHE_CONTROL: &str = "private, max-age=31536000, immutable";

/// Operations on artifacts. Only nodes call them.
pub(super) struct Artifacts;

#[derive(ApiResponse)]
enum FetchResponse {
    /// The artifact, exactly as it was uploaded. Verify its SHA-256 against the digest.
    #[oai(status = 200, content_type = "application/wasm")]
    Artifact(
        Binary<poem::Body>,
        /// The digest, in quotes.
        #[oai(header = "ETag")]
        String,
        /// The size in bytes.
        #[oai(header = "Content-Length")]
        u64,
        /// Says that the artifact never changes.
        #[oai(header = "Cache-Control")]
        String,
        /// Says that parts can be fetched, with the header `Range`.
        #[oai(header = "Accept-Ranges")]
        String,
    ),
    /// The part of the artifact that `Range` names.
    #[oai(status = 206, content_type = "application/wasm")]
    Part(
        Binary<poem::Body>,
        /// The digest of the whole artifact, in quotes.
        #[oai(header = "ETag")]
        String,
        /// The size of the part in bytes.
        #[oai(header = "Content-Length")]
        u64,
        /// Where the part is in the artifact, and how large that is: `bytes 7-99/100`.
        #[oai(header = "Content-Range")]
        String,
        /// Says that the artifact never changes.
        #[oai(header = "Cache-Control")]
        String,
    ),
    /// `If-None-Match` names this digest. The artifact of a digest never changes.
    #[oai(status = 304)]
    NotModified(
        /// The digest, in quotes.
        #[oai(header = "ETag")]
        String,
    ),
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Nodes")]
impl Artifacts {
    /// Fetch an artifact
    ///
    /// Streams the WebAssembly component of a module version, or the part of it that `Range`
    /// names, so that a node whose connection broke can go on. Needs the node token.
    #[oai(
        path = "/artifacts/:digest",
        method = "get",
        operation_id = "fetchArtifact"
    )]
    async fn fetch(
        &self,
        _node: NodeToken,
        context: Data<&Context>,
        /// The digest of the artifact.
        digest: Path<Parsed<Digest>>,
        /// The quoted digests of the artifacts that the node already has.
        #[oai(name = "if-none-match")]
        if_none_match: Header<Option<String>>,
        /// The part to fetch: `bytes=7-99`, or `bytes=7-` for all from byte 7 on. Several parts
        /// get the whole artifact.
        range: Header<Option<String>>,
        /// The quoted digest of the artifact that the part belongs to. With another one the
        /// whole artifact is sent.
        #[oai(name = "if-range")]
        if_range: Header<Option<String>>,
    ) -> Result<
        FetchResponse,
        Failure<{ BAD_REQUEST | AUTH | NOT_FOUND | RANGE_NOT_SATISFIABLE | UNAVAILABLE }>,
    > {
        let digest = digest.0.0;
        let etag = format!("\"{digest}\"");
        let blob = context.engine.modules.open(digest).await?;
        let blob = blob.ok_or_else(|| {
            let detail = format!("there is no artifact {digest}; upload the module version again");
            Problem::new(Kind::UnknownArtifact, detail)
        })?;
        let if_none_match = if_none_match.0.unwrap_or_default();
        if if_none_match
            .split(',')
            .any(|tag| tag.trim().trim_start_matches("W/") == etag)
        {
            return Ok(FetchResponse::NotModified(etag));
        }
        let range = range.0.filter(|_| if_range.0.is_none_or(|tag| tag == etag));
        let (size, mut file) = (blob.size, blob.file);
        Ok(match ByteRange::parse(range.as_deref(), size) {
            ByteRange::Whole => FetchResponse::Artifact(
                Binary(poem::Body::from_async_read(file)),
                etag,
                size,
                CACHE_CONTROL.to_owned(),
                "bytes".to_owned(),
            ),
            ByteRange::Part { first, last } => {
                let seek = file.seek(SeekFrom::Start(first)).await;
                seek.map_err(|error| unreadable(&error))?;
                let length = last - first + 1;
                FetchResponse::Part(
                    Binary(poem::Body::from_async_read(file.take(length))),
                    etag,
                    length,
                    format!("bytes {first}-{last}/{size}"),
                    CACHE_CONTROL.to_owned(),
                )
            }
            ByteRange::Unsatisfiable => {
                let detail = format!("the artifact has {size} bytes; fetch a part of them");
                return Err(Problem::new(Kind::UnknownRange, detail).into());
            }
        })
    }
}

fn unreadable(error: &std::io::Error) -> Problem {
    let detail = "the artifact cannot be read now; retry";
    Problem::new(Kind::Unavailable, detail).with_cause(error)
}
