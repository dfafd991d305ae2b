//! Request bodies. JSON is read by serde rather than by poem, whose messages do not name
//! the field that is wrong.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use poem::web::headers::{ContentLength, HeaderMapExt};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::problem::{Kind, Problem};

/// A JSON body.
pub(crate) struct Body<T>(pub T);

/// A JSON body that may be left out.
pub(crate) struct OptionalBody<T>(pub T);

/// A WebAssembly binary, as it comes.
pub(crate) struct Wasm {
    body: poem::Body,
    inactivity: Duration,
}

impl<'a, T: Type + DeserializeOwned> ApiExtractor<'a> for Body<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(json_meta::<T>(true))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        must_be(request, is_json, "application/json")?;
        let json = read(request, body.take()?).await?;
        Ok(Self(parse(&json)?))
    }
}

impl<'a, T: Type + DeserializeOwned + Default> ApiExtractor<'a> for OptionalBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(json_meta::<T>(false))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let json = read(request, body.take()?).await?;
        if json.is_empty() {
            return Ok(Self(T::default()));
        }
        must_be(request, is_json, "application/json")?;
        Ok(Self(parse(&json)?))
    }
}

impl<'a> ApiExtractor<'a> for Wasm {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: Some("A WebAssembly binary."),
            content: vec![MetaMediaType {
                content_type: "application/wasm",
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
        must_be(
            request,
            |kind| kind == "application/wasm",
            "application/wasm",
        )?;
        let inactivity = context(request)?.limits.inactivity;
        let body = body.take()?;
        Ok(Self { body, inactivity })
    }
}

impl Wasm {
    /// The pieces as they come; a problem where none comes for too long.
    pub fn pieces(self) -> impl Stream<Item = Result<Vec<u8>, Problem>> + Send {
        let inactivity = self.inactivity;
        let stream = Box::pin(self.body.into_bytes_stream());
        futures_util::stream::try_unfold(stream, move |mut stream| async move {
            match tokio::time::timeout(inactivity, stream.next()).await {
                Ok(Some(Ok(piece))) => Ok(Some((piece.to_vec(), stream))),
                Ok(None) => Ok(None),
                Ok(Some(Err(error))) => {
                    let detail = format!("the upload broke off: {error}; send it again");
                    Err(Problem::new(Kind::BadRequest, detail))
                }
                Err(_) => {
                    let seconds = inactivity.as_secs();
                    let detail = format!("nothing came for {seconds} s; send the upload again");
                    Err(Problem::new(Kind::Slow, detail))
                }
            }
        })
    }

    /// All of it, where that is at most `limit` bytes.
    pub async fn whole(self, limit: usize) -> Result<Vec<u8>, Problem> {
        let mut pieces = Box::pin(self.pieces());
        let mut whole = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            if whole.len() + piece.len() > limit {
                return Err(too_large(limit));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }
}

fn json_meta<T: Type>(required: bool) -> MetaRequest {
    MetaRequest {
        description: None,
        content: vec![MetaMediaType {
            content_type: "application/json",
            schema: T::schema_ref(),
        }],
        required,
    }
}

fn context(request: &Request) -> poem::Result<&Context> {
    request
        .data::<Context>()
        .ok_or_else(|| Problem::new(Kind::Internal, "").into())
}

fn is_json(kind: &str) -> bool {
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn must_be(request: &Request, fits: fn(&str) -> bool, wanted: &str) -> poem::Result<()> {
    let given = request.content_type().unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim();
    if fits(&kind.to_ascii_lowercase()) {
        return Ok(());
    }
    let detail = match kind {
        "" => format!("send the body with the header Content-Type: {wanted}"),
        kind => {
            let kind: String = kind.chars().take(80).collect();
            format!("the body is '{kind}'; send it as {wanted}")
        }
    };
    Err(Problem::new(Kind::UnsupportedMediaType, detail).into())
}

async fn read(request: &Request, body: poem::Body) -> poem::Result<Vec<u8>> {
    let limit = context(request)?.limits.body;
    let announced = request.headers().typed_get::<ContentLength>();
    if announced.is_some_and(|length| length.0 > limit as u64) {
        return Err(too_large(limit).into());
    }
    let mut stream = Box::pin(body.into_bytes_stream());
    let mut whole = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| {
            Problem::new(Kind::BadRequest, format!("the body broke off: {error}"))
        })?;
        if whole.len() + piece.len() > limit {
            return Err(too_large(limit).into());
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body may have at most {limit} bytes");
    Problem::new(Kind::PayloadTooLarge, detail)
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> poem::Result<T> {
    serde_json::from_slice(json).map_err(|error| {
        let detail = format!("the body is not as it should be: {error}");
        Problem::new(Kind::BadRequest, detail).into()
    })
}
