//! The requests that a backend sends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::connection::{Connection, StandIn, connect, explain};
use super::limited_body::LimitedBody;
use super::limits::BackendLimits;
use super::origin::Origin;
use super::refusals::Refusals;
use super::resolver::Resolver;
use super::secrets::Secrets;
use super::tls::Tls;

/// Bytes of the head of an answer.
const MAX_HEAD: usize = 64 << 10;

/// Headers of an answer.
const MAX_HEADERS: usize = 100;

/// Longest wait for an answer, whatever the component asks for. Registries hold a watch for ten
/// minutes at most.
const MAX_WAIT: Duration = Duration::from_secs(15 * 60);

/// Sends the requests of an instance: to the allowed origins, with the secrets added. Follows no
/// redirect; to the component it is an answer like others.
pub(super) struct Outgoing {
    /// The name of the backend, for the log.
    pub(super) name: Arc<str>,
    pub(super) origins: Vec<Origin>,
    /// Names that it may resolve, besides the hosts of the origins.
    pub(super) names: Vec<String>,
    pub(super) tls: Tls,
    /// What answers in the place of the origins.
    pub(super) stand_in: Option<Arc<dyn StandIn>>,
    pub(super) secrets: Secrets,
    pub(super) resolver: Arc<dyn Resolver>,
    pub(super) limits: BackendLimits,
    pub(super) refusals: Refusals,
    /// One permit for each connection.
    pub(super) connections: Arc<Semaphore>,
}

/// Passes the requests of an instance on.
pub(super) struct OutgoingHooks(pub(super) Arc<Outgoing>);

impl Outgoing {
    /// Whether the component may ask for the addresses of a name.
    pub(super) fn allows_name(&self, name: &str) -> bool {
        let without_dot = |name: &str| name.strip_suffix('.').unwrap_or(name).to_owned();
        let name = without_dot(name);
        let hosts = self.origins.iter().map(Origin::host);
        let names = self.names.iter().map(|name| without_dot(name));
        let mut allowed = hosts.chain(names);
        allowed.any(|allowed| allowed.eq_ignore_ascii_case(&name))
    }

    async fn send(
        &self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<Response<WasiBody>, Error> {
        let origin = self.check(request.uri(), request.method())?;
        let permit = Arc::clone(&self.connections).try_acquire_owned();
        let permit = permit.map_err(|_| Error::ConnectionLimitReached)?;
        let (head, body) = request.into_parts();
        let body = Limited::new(body, self.limits.request_bytes)
            .collect()
            .await;
        let body = body.map_err(|error| match error.downcast::<LengthLimitError>() {
            Ok(_) => Error::HttpRequestBodySize(None),
            Err(error) => Error::InternalError(Some(error.to_string())),
        })?;
        let mut request = Request::from_parts(head, body.to_bytes());
        self.secrets.add_to(&mut request).await;
        let options = options.unwrap_or_default();
        let limit = self.limits.read_timeout;
        let wait = |asked: Option<Duration>| asked.unwrap_or(limit).min(MAX_WAIT);
        let within = options.connect_timeout.unwrap_or(limit).min(limit);
        let stream: Result<Box<dyn Connection>, Error> = match &self.stand_in {
            Some(stand_in) => match stand_in.connect(&origin) {
                Ok(stream) => Ok(Box::new(stream)),
                Err(error) => Err(Error::Connect(error)),
            },
            None => connect(&origin, self.resolver.as_ref(), &self.tls, within).await,
        };
        let stream = stream.inspect_err(|error| self.note_failure(&origin, error))?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            // Its error is that of the request.
            let _ = connection.await;
        }));
        let request = to_origin_form(request)?;
        let first_byte = wait(options.first_byte_timeout);
        let response = match timeout(first_byte, sender.send_request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(explain(error, &origin)),
            Err(_) => return Err(Error::ConnectionReadTimeout),
        };
        if response.status() == StatusCode::UNAUTHORIZED {
            self.secrets.distrust();
        }
        let between_bytes = wait(options.between_bytes_timeout);
        let max_bytes = self.limits.response_bytes;
        Ok(response.map(|body| {
            LimitedBody::new(body, max_bytes, between_bytes, permit, connection).boxed_unsync()
        }))
    }

    /// The origin of a request, if the operator allows it.
    fn check(&self, uri: &Uri, method: &Method) -> Result<Origin, Error> {
        let origin = Origin::of_request(uri).filter(|origin| self.origins.contains(origin));
        match origin {
            Some(origin) if method != Method::CONNECT && method != Method::TRACE => Ok(origin),
            _ => {
                if self.refusals.count() {
                    // Not the path: it may hold what is secret elsewhere.
                    let scheme = uri.scheme_str().unwrap_or_default();
                    let host = uri.authority().map_or("", |authority| authority.as_str());
                    warn!(
                        backend = &*self.name,
                        %method, scheme, host,
                        "the discovery backend was refused a request to a host that its configuration does not name"
                    );
                }
                Err(Error::HttpRequestDenied)
            }
        }
    }

    fn note_failure(&self, origin: &Origin, error: &Error) {
        if matches!(error, Error::DestinationIpProhibited) {
            if self.refusals.count() {
                warn!(
                    backend = &*self.name,
                    %origin,
                    "the name of the registry leads to an address of this machine or of its link; the discovery backend was refused the request"
                );
            }
        } else {
            debug!(backend = &*self.name, %origin, %error, "cannot connect to the registry");
        }
    }
}

/// Only proxies get the whole URI.
fn to_origin_form(request: Request<Bytes>) -> Result<Request<Full<Bytes>>, Error> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    head.uri = path.parse().map_err(|_| Error::HttpRequestUriInvalid)?;
    Ok(Request::from_parts(head, Full::new(body)))
}

type SendRequestFuture = Box<
    dyn Future<
            Output = Result<
                (
                    Response<WasiBody>,
                    Box<dyn Future<Output = Result<(), Error>> + Send>,
                ),
                Error,
            >,
        > + Send,
>;

impl WasiHttpHooks for OutgoingHooks {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _body_sent: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> SendRequestFuture {
        let outgoing = Arc::clone(&self.0);
        Box::new(async move {
            let response = outgoing.send(request, options).await?;
            let no_rest: Box<dyn Future<Output = Result<(), Error>> + Send> =
                Box::new(async { Ok(()) });
            Ok((response, no_rest))
        })
    }
}
