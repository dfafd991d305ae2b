use std::time::Duration;

use futures_util::{Stream, StreamExt};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::content_type::require_content_type;
use super::too_large;
use crate::context::Context;
use crate::problem::{Kind, Problem};

const MEDIA_TYPE: &str = "application/wasm";

/// A WebAssembly binary, read as it arrives.
pub(crate) struct WasmBody {
    body: poem::Body,
    idle_timeout: Duration,
}

impl<'a> ApiExtractor<'a> for WasmBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: Some("A WebAssembly binary."),
            content: vec![MetaMediaType {
                content_type: MEDIA_TYPE,
                schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format(
                    "string", "binary",
                ))),
            }],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        require_content_type(request, |media_type| media_type == MEDIA_TYPE, MEDIA_TYPE)?;
        let idle_timeout = Context::of(request)?.limits.upload_idle_timeout;
        let body = body.take()?;
        Ok(Self { body, idle_timeout })
    }
}

impl WasmBody {
    /// The chunks as they arrive. Ends with a problem if the client sends nothing for
    /// [`crate::Limits::upload_idle_timeout`].
    pub fn chunks(self) -> impl Stream<Item = Result<Vec<u8>, Problem>> + Send {
        let idle_timeout = self.idle_timeout;
        let stream = Box::pin(self.body.into_bytes_stream());
        futures_util::stream::try_unfold(stream, move |mut stream| async move {
            match tokio::time::timeout(idle_timeout, stream.next()).await {
                Ok(Some(Ok(chunk))) => Ok(Some((chunk.to_vec(), stream))),
                Ok(None) => Ok(None),
                Ok(Some(Err(error))) => {
                    let detail = format!("the upload broke off: {error}; send it again");
                    Err(Problem::new(Kind::BadRequest, detail))
                }
                Err(_) => {
                    let seconds = idle_timeout.as_secs();
                    let detail = format!("the upload sent nothing for {seconds} s; send it again");
                    Err(Problem::new(Kind::SlowUpload, detail))
                }
            }
        })
    }

    /// The whole body.
    ///
    /// # Errors
    /// A 413 if it has more than `limit` bytes; otherwise as [`Self::chunks`].
    pub async fn read_all(self, limit: usize) -> Result<Vec<u8>, Problem> {
        let mut chunks = Box::pin(self.chunks());
        let mut body = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            if body.len() + chunk.len() > limit {
                return Err(too_large(limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}
