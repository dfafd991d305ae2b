//! JSON bodies. serde parses them rather than poem, whose errors do not name the wrong
//! field.

use futures_util::StreamExt;
use poem::web::headers::{ContentLength, HeaderMapExt};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde::de::DeserializeOwned;

use super::content_type::require_content_type;
use super::too_large;
use crate::context::Context;
use crate::problem::{Kind, Problem};

const MEDIA_TYPE: &str = "application/json";

/// A JSON body.
pub(crate) struct JsonBody<T>(pub T);

/// A JSON body that the client may leave out, which gives the default.
pub(crate) struct OptionalJsonBody<T>(pub T);

impl<'a, T: Type + DeserializeOwned> ApiExtractor<'a> for JsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(meta::<T>(true))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        require_content_type(request, is_json, MEDIA_TYPE)?;
        let json = read(request, body.take()?).await?;
        Ok(Self(parse(&json)?))
    }
}

impl<'a, T: Type + DeserializeOwned + Default> ApiExtractor<'a> for OptionalJsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(meta::<T>(false))
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
        require_content_type(request, is_json, MEDIA_TYPE)?;
        Ok(Self(parse(&json)?))
    }
}

fn meta<T: Type>(required: bool) -> MetaRequest {
    MetaRequest {
        description: None,
        content: vec![MetaMediaType {
            content_type: MEDIA_TYPE,
            schema: T::schema_ref(),
        }],
        required,
    }
}

fn is_json(media_type: &str) -> bool {
    media_type == MEDIA_TYPE
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// Reads a body whole, up to the limit for JSON.
async fn read(request: &Request, body: poem::Body) -> Result<Vec<u8>, Problem> {
    let limit = Context::of(request)?.limits.json_bytes;
    let announced = request.headers().typed_get::<ContentLength>();
    if announced.is_some_and(|length| length.0 > limit as u64) {
        return Err(too_large(limit));
    }
    let mut stream = Box::pin(body.into_bytes_stream());
    let mut json = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| {
            let detail = format!("the body broke off: {error}; send the request again");
            Problem::new(Kind::BadRequest, detail)
        })?;
        if json.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        json.extend_from_slice(&chunk);
    }
    Ok(json)
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(json).map_err(|error| {
        let detail = format!("the body is not the expected JSON: {error}");
        Problem::new(Kind::BadRequest, detail)
    })
}
