//! `/api/v1/artifacts`.

use hotswap_core::Digest;
use poem::web::Data;
use poem_openapi::param::{Header, Path};
use poem_openapi::payload::Binary;
use poem_openapi::{ApiResponse, OpenApi};

use super::tag::Tag;
use crate::context::Context;
use crate::extract::{NodeToken, Parsed};
use crate::problem::{AUTH, BAD_REQUEST, Failure, Kind, NOT_FOUND, Problem, UNAVAILABLE};

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
    /// Streams the WebAssembly component of a module version. Needs the node token.
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
    ) -> Result<FetchResponse, Failure<{ BAD_REQUEST | AUTH | NOT_FOUND | UNAVAILABLE }>> {
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
        let body = Binary(poem::Body::from_async_read(blob.file));
        let cache_control = "private, max-age=31536000, immutable".to_owned();
        Ok(FetchResponse::Artifact(
            body,
            etag,
            blob.size,
            cache_control,
        ))
    }
}
