//! `/api/v1/artifacts`.

use hotswap_core::Digest;
use poem::web::Data;
use poem_openapi::param::{Header, Path};
use poem_openapi::payload::Binary;
use poem_openapi::{ApiResponse, OpenApi};

use crate::auth::Node;
use crate::context::Context;
use crate::openapi::Tag;
use crate::problem::{AUTH, Failure, INVALID, Kind, MISSING, Problem, UNAVAILABLE};
use crate::text::Text;

/// Operations on artifacts, which nodes call.
pub(crate) struct Artifacts;

/// An artifact.
#[derive(ApiResponse)]
enum Fetched {
    /// The artifact, as it was uploaded. Check its SHA-256 against the digest.
    #[oai(status = 200, content_type = "application/wasm")]
    Whole(
        Binary<poem::Body>,
        /// The digest, quoted.
        #[oai(header = "ETag")]
        String,
        /// Its size, in bytes.
        #[oai(header = "Content-Length")]
        u64,
        /// It never changes.
        #[oai(header = "Cache-Control")]
        String,
    ),
    /// It is what `If-None-Match` names: a digest stands for one artifact for good.
    #[oai(status = 304)]
    Unchanged(
        /// The digest, quoted.
        #[oai(header = "ETag")]
        String,
    ),
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Nodes")]
impl Artifacts {
    /// Fetch an artifact
    ///
    /// What a version of a module stands for, piece by piece. With the node token.
    #[oai(
        path = "/artifacts/:digest",
        method = "get",
        operation_id = "fetchArtifact"
    )]
    async fn fetch(
        &self,
        _node: Node,
        context: Data<&Context>,
        /// Its digest.
        digest: Path<Text<Digest>>,
        /// The artifacts that the caller has.
        #[oai(name = "if-none-match")]
        known: Header<Option<String>>,
    ) -> Result<Fetched, Failure<{ INVALID | AUTH | MISSING | UNAVAILABLE }>> {
        let digest = digest.0.0;
        let tag = format!("\"{digest}\"");
        let opened = context.engine.modules.open(digest).await?;
        let blob = opened.ok_or_else(|| {
            let detail = format!("no artifact {digest} was uploaded");
            Problem::new(Kind::UnknownArtifact, detail)
        })?;
        let known = known.0.unwrap_or_default();
        if known
            .split(',')
            .any(|one| one.trim().trim_start_matches("W/") == tag)
        {
            return Ok(Fetched::Unchanged(tag));
        }
        let body = Binary(poem::Body::from_async_read(blob.file));
        let forever = "private, max-age=31536000, immutable".to_owned();
        Ok(Fetched::Whole(body, tag, blob.size, forever))
    }
}
