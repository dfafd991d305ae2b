use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use hotswap_protocol::{BOOT_HEADER, NODE_HEADER, Problem};
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body as _, Incoming};
use poem::endpoint::{BoxEndpoint, make_sync};
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint as _, EndpointExt as _, IntoResponse as _, Route};
use poem_openapi::OpenApiService;

use super::api::Api;
use super::{ControlContext, metrics, order_span};
use crate::problem::{problem, problem_response};

/// Characters of an error that a problem repeats.
const MAX_DETAIL: usize = 400;

/// Largest body of a request, in bytes: what an engine tells of as many modules as a node may have.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Long, because an order may fetch and compile a large artifact.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);

/// The HTTP service of the control port. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ControlService(Arc<ServiceInner>);

struct ServiceInner {
    endpoint: BoxEndpoint<'static>,
    /// Say in each response which node has answered.
    node: HeaderValue,
    boot: HeaderValue,
}

/// Body of a response on the control port.
pub(crate) type ControlBody = BoxBody<Bytes, io::Error>;

/// The OpenAPI document of a node's control API, in JSON.
#[must_use]
pub fn openapi() -> String {
    OPENAPI_DOCUMENT.clone()
}

/// Shared by all nodes of a process.
static OPENAPI_DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut document = openapi_service(None).spec();
    document.push('\n');
    document
});

/// Shared by all nodes of a process, because it is large.
static SWAGGER_PAGE: LazyLock<Bytes> =
    LazyLock::new(|| openapi_service(None).swagger_ui_html().into());

fn openapi_service(context: Option<ControlContext>) -> OpenApiService<Api, ()> {
    OpenApiService::new(Api::new(context), "HotSwap node", env!("CARGO_PKG_VERSION")).description(
        "A node hosts modules, routes requests to them and swaps their versions in place. \
         The engine sends its orders to this API. Requests for the modules go to the data port.",
    )
}

impl ControlService {
    /// Creates the service for a node.
    pub(crate) fn new(context: ControlContext) -> Self {
        let header = |text: &str| {
            // An id is ASCII.
            HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
        };
        let (node, boot) = (header(context.id.as_str()), header(&context.boot));
        let service = openapi_service(Some(context.clone()));
        let app = Route::new()
            .at(
                "/openapi.json",
                constant("application/json", || OPENAPI_DOCUMENT.as_str().into()),
            )
            .at(
                "/swagger",
                constant("text/html; charset=utf-8", || SWAGGER_PAGE.clone().into()),
            )
            .at(
                "/metrics",
                poem::get(make_sync({
                    let context = context.clone();
                    move |_| metrics::metrics_response(&context)
                })),
            )
            .nest("/", service)
            .data(context)
            .catch_all_error(|error| async move { error_response(error) })
            .map_to_response()
            .boxed();
        Self(Arc::new(ServiceInner {
            endpoint: app,
            node,
            boot,
        }))
    }

    /// Handles a request. Always returns a response: errors become problems.
    pub(crate) async fn handle(
        self,
        request: hyper::Request<Incoming>,
        local: SocketAddr,
    ) -> hyper::Response<ControlBody> {
        let mut span = order_span::begin(&request);
        let mut response = span.run(self.respond(request, local)).await;
        let status = response.status();
        span.set("http.response.status_code", status.as_u16());
        if status.is_client_error() || status.is_server_error() {
            let reason = "the node has not carried it out; its log has the cause";
            span.fail_with_status(status.as_u16(), &reason);
        }
        let headers = response.headers_mut();
        headers.insert(NODE_HEADER, self.0.node.clone());
        headers.insert(BOOT_HEADER, self.0.boot.clone());
        response
    }

    async fn respond(
        &self,
        request: hyper::Request<Incoming>,
        local: SocketAddr,
    ) -> hyper::Response<ControlBody> {
        if request.size_hint().lower() > MAX_BODY_BYTES as u64 {
            let detail = format!("the body of a request may have at most {MAX_BODY_BYTES} bytes");
            return boxed_problem(&problem(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The request is too large",
                detail,
            ));
        }
        let local = LocalAddr(local.into());
        let remote = RemoteAddr::default();
        let mut request = poem::Request::from((request, local, remote, Scheme::HTTP));
        let body: ControlBody = request.take_body().into();
        let limited = Limited::new(body, MAX_BODY_BYTES).map_err(io::Error::other);
        request.set_body(poem::Body::from(limited.boxed()));
        match tokio::time::timeout(REQUEST_TIMEOUT, self.0.endpoint.get_response(request)).await {
            Ok(response) => response.into(),
            Err(_) => boxed_problem(&problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "time",
                "The request took too long",
                format!("the node did not complete it within {REQUEST_TIMEOUT:?}; send it again"),
            )),
        }
    }
}

fn boxed_problem(problem: &Problem) -> hyper::Response<ControlBody> {
    problem_response(problem).map(|body| {
        Full::new(body)
            .map_err(|never: Infallible| match never {})
            .boxed()
    })
}

/// Responds to GET with the same content each time.
fn constant(media_type: &'static str, body: fn() -> poem::Body) -> impl poem::IntoEndpoint {
    poem::get(make_sync(move |_| body().with_content_type(media_type)))
}

/// Converts an error of poem itself to a problem.
fn error_response(error: poem::Error) -> poem::Response {
    if error.is_from_response() {
        return error.into_response();
    }
    let (name, title) = match error.status() {
        StatusCode::BAD_REQUEST => ("bad-request", "The request is malformed"),
        StatusCode::UNAUTHORIZED => ("unauthorized", "The request has no valid node token"),
        StatusCode::NOT_FOUND => ("not-found", "No such resource"),
        StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", "Method not allowed"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("media-type", "The body is not JSON"),
        status if status.is_server_error() => ("internal", "The node failed"),
        _ => ("refused", "The node rejects the request"),
    };
    let detail = match error.status() {
        StatusCode::UNAUTHORIZED => {
            "send the node token that the engine and its nodes share: Authorization: Bearer …"
                .to_owned()
        }
        StatusCode::NOT_FOUND => "see /openapi.json for the routes".to_owned(),
        // It may repeat the whole body.
        _ => error.to_string().chars().take(MAX_DETAIL).collect(),
    };
    let unauthorized = error.status() == StatusCode::UNAUTHORIZED;
    let problem = problem(error.status(), name, title, detail);
    let mut response = poem::web::Json(&problem)
        .with_status(error.status())
        .into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
    if unauthorized {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
