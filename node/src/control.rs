//! Where a node takes orders, and says what it does.

mod api;
mod metrics;
mod order;
mod refusal;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use hotswap_core::NodeId;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint as _, EndpointExt as _, IntoResponse as _, Route};
use poem_openapi::OpenApiService;

use crate::config::Token;
use crate::modules::Modules;
use crate::problem::{problem, response};
use api::Api;
use hotswap_protocol::Problem;

/// The largest order, in bytes: real ones are a tenth of it.
const BODY: usize = 64 << 10;

/// An order may fetch and compile a large artifact.
const TIME: Duration = Duration::from_secs(300);

/// The control API, ready to answer. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Control(Arc<poem::endpoint::BoxEndpoint<'static>>);

/// What the control API acts on.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) id: NodeId,
    /// Different for every start.
    pub(crate) boot: String,
    pub(crate) token: Token,
    pub(crate) modules: Modules,
}

/// The OpenAPI document of a node's control API, in JSON.
#[must_use]
pub fn openapi() -> String {
    DOCUMENT.clone()
}

/// One for all nodes of a process, as is the page, which is large.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut document = service(None).spec();
    document.push('\n');
    document
});

static PAGE: LazyLock<Bytes> = LazyLock::new(|| service(None).swagger_ui_html().into());

fn service(context: Option<Context>) -> OpenApiService<Api, ()> {
    OpenApiService::new(Api::new(context), "HotSwap node", env!("CARGO_PKG_VERSION")).description(
        "A node hosts modules, routes requests to them and swaps their versions in place. \
         The engine orders it about here; requests for the modules go to the data port.",
    )
}

impl Control {
    /// Over what a node holds.
    pub(crate) fn new(context: Context) -> Self {
        let service = service(Some(context.clone()));
        let app = Route::new()
            .at(
                "/openapi.json",
                constant("application/json", || DOCUMENT.as_str().into()),
            )
            .at(
                "/swagger",
                constant("text/html; charset=utf-8", || PAGE.clone().into()),
            )
            .at(
                "/metrics",
                poem::get(poem::endpoint::make_sync({
                    let context = context.clone();
                    move |_| metrics::answer(&context)
                })),
            )
            .nest("/", service)
            .data(context)
            .catch_all_error(|error| async move { explain(error) })
            .map_to_response()
            .boxed();
        Self(Arc::new(app))
    }

    /// Answers a request, always: errors become problems.
    pub(crate) async fn answer(self, request: hyper::Request<Incoming>) -> hyper::Response<Answer> {
        if request.size_hint().lower() > BODY as u64 {
            let detail = format!("the body of a request has at most {BODY} bytes");
            return own(&problem(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The request is too large",
                detail,
            ));
        }
        let local = LocalAddr::default();
        let remote = RemoteAddr::default();
        let mut request = poem::Request::from((request, local, remote, Scheme::HTTP));
        let body: BoxBody<Bytes, std::io::Error> = request.take_body().into();
        let limited = Limited::new(body, BODY).map_err(std::io::Error::other);
        request.set_body(poem::Body::from(limited.boxed()));
        match tokio::time::timeout(TIME, self.0.get_response(request)).await {
            Ok(answer) => answer.into(),
            Err(_) => own(&problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "time",
                "The request took too long",
                format!("it did not come to its end within {TIME:?}; send it again"),
            )),
        }
    }
}

/// The body of an answer on the control port.
pub(crate) type Answer = BoxBody<Bytes, std::io::Error>;

fn own(problem: &Problem) -> hyper::Response<Answer> {
    response(problem).map(|body| {
        http_body_util::Full::new(body)
            .map_err(|never| match never {})
            .boxed()
    })
}

/// Answers GET with the same each time.
fn constant(media_type: &'static str, body: fn() -> poem::Body) -> impl poem::IntoEndpoint {
    poem::get(poem::endpoint::make_sync(move |_| {
        body().with_content_type(media_type)
    }))
}

/// What poem refuses by itself, as a problem.
fn explain(error: poem::Error) -> poem::Response {
    if error.is_from_response() {
        return error.into_response();
    }
    let (kind, title) = match error.status() {
        StatusCode::BAD_REQUEST => ("bad-request", "The request does not fit"),
        StatusCode::UNAUTHORIZED => ("unauthorized", "The request lacks the node token"),
        StatusCode::NOT_FOUND => ("not-found", "No such resource"),
        StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", "No such method here"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("media-type", "The body is not JSON"),
        status if status.is_server_error() => ("internal", "The node failed"),
        _ => ("refused", "The request was refused"),
    };
    let detail = match error.status() {
        StatusCode::UNAUTHORIZED => {
            "show the node token that the engine and its nodes share: Authorization: Bearer …"
                .to_owned()
        }
        StatusCode::NOT_FOUND => "/openapi.json says what there is".to_owned(),
        _ => error.to_string(),
    };
    let unauthorized = error.status() == StatusCode::UNAUTHORIZED;
    let problem = problem(error.status(), kind, title, detail);
    let mut answer = poem::web::Json(&problem)
        .with_status(error.status())
        .into_response();
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
    if unauthorized {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}
