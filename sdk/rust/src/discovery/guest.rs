//! Connects a backend with the imports and exports of its component.

use std::cell::RefCell;
use std::panic;
use std::rc::Rc;

use super::bindings::hotswap::discovery::{clock, dns, log};
use super::bindings::wasi::clocks::monotonic_clock;
use super::bindings::wasi::http::outgoing_handler;
use super::bindings::wasi::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method as WasiMethod, OutgoingBody,
    OutgoingRequest, RequestOptions, Scheme, http_error_code,
};
use super::bindings::wasi::io::poll;
use super::bindings::wasi::io::streams::{InputStream, StreamError};
use super::{
    Backend, Body, Chunk, Context, Error, Health, Host, Level, Method, RawRequest, RawResponse,
    Registration, Snapshot, SrvRecord,
};
use crate::Span;

/// Bytes of one write: what the host takes at once.
const WRITE_BYTES: usize = 4096;

/// Bytes of one read.
const READ_BYTES: u64 = 64 << 10;

/// The backend of a component, once it is configured.
pub struct Slot<B>(RefCell<Option<B>>);

impl<B> Default for Slot<B> {
    fn default() -> Self {
        Self(RefCell::new(None))
    }
}

impl<B: Backend> Slot<B> {
    /// Makes the backend.
    pub fn configure(&self, config: &str) -> Result<(), Error> {
        log_panics();
        let config = serde_json::from_str(config)
            .map_err(|error| Error::InvalidConfig(error.to_string()))?;
        *self.0.borrow_mut() = Some(B::new(config)?);
        Ok(())
    }

    /// See [`Backend::register`].
    pub fn register(&self, registration: &Registration) -> Result<(), Error> {
        self.with(|backend, context| backend.register(context, registration))
    }

    /// See [`Backend::heartbeat`].
    pub fn heartbeat(&self, service: &str, id: &str, health: Health) -> Result<(), Error> {
        self.with(|backend, context| backend.heartbeat(context, service, id, health))
    }

    /// See [`Backend::deregister`].
    pub fn deregister(&self, service: &str, id: &str) -> Result<(), Error> {
        self.with(|backend, context| backend.deregister(context, service, id))
    }

    /// See [`Backend::watch`].
    pub fn watch(
        &self,
        service: &str,
        cursor: Option<&str>,
        patience: u64,
    ) -> Result<Snapshot, Error> {
        let patience = Span::millis(patience);
        self.with(|backend, context| backend.watch(context, service, cursor, patience))
    }

    fn with<R>(&self, call: impl FnOnce(&mut B, &Context) -> Result<R, Error>) -> Result<R, Error> {
        match self.0.borrow_mut().as_mut() {
            Some(backend) => call(backend, &Context::new(Rc::new(Engine))),
            None => Err(Error::Other("configure was not called".to_owned())),
        }
    }
}

/// Logs the message of a panic. A panic ends in a trap, which carries no text.
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let place = match info.location() {
            Some(place) => format!(" at {}:{}", place.file(), place.line()),
            None => String::new(),
        };
        let text = info.payload_as_str().unwrap_or("no message");
        log::write(
            Level::Error,
            &format!("the backend panicked{place}: {text}"),
        );
    }));
}

/// The engine, called through the component's imports.
struct Engine;

impl Host for Engine {
    fn send(&self, request: RawRequest) -> Result<RawResponse, Error> {
        let authority = request.authority.clone();
        send(request).map_err(|code| explain(&authority, &code))
    }

    fn now(&self) -> u64 {
        clock::now()
    }

    fn sleep(&self, span: Span) {
        clock::sleep(span.as_millis());
    }

    fn log(&self, level: Level, message: &str) {
        log::write(level, message);
    }

    fn srv(&self, name: &str) -> Result<Vec<SrvRecord>, Error> {
        dns::srv(name)
    }

    fn addresses(&self, name: &str) -> Result<Vec<String>, Error> {
        dns::addresses(name)
    }
}

fn send(request: RawRequest) -> Result<RawResponse, ErrorCode> {
    let internal = |what: &str| ErrorCode::InternalError(Some(what.to_owned()));
    let mut headers: Vec<_> = request
        .headers
        .into_iter()
        .map(|(name, value)| (name, value.into_bytes()))
        .collect();
    if !request.body.is_empty() {
        let length = request.body.len().to_string().into_bytes();
        headers.push(("content-length".to_owned(), length));
    }
    let headers = Fields::from_list(&headers).map_err(|_| internal("a header is invalid"))?;
    let outgoing = OutgoingRequest::new(headers);
    let scheme = if request.is_tls {
        Scheme::Https
    } else {
        Scheme::Http
    };
    outgoing
        .set_method(&match request.method {
            Method::Get => WasiMethod::Get,
            Method::Post => WasiMethod::Post,
            Method::Put => WasiMethod::Put,
            Method::Delete => WasiMethod::Delete,
        })
        .and_then(|()| outgoing.set_scheme(Some(&scheme)))
        .and_then(|()| outgoing.set_authority(Some(&request.authority)))
        .and_then(|()| outgoing.set_path_with_query(Some(&request.path)))
        .map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    let options = RequestOptions::new();
    let nanos = |span: Span| Some(span.as_millis().saturating_mul(1_000_000));
    options
        .set_connect_timeout(nanos(request.connect))
        .and_then(|()| options.set_first_byte_timeout(nanos(request.patience)))
        .and_then(|()| options.set_between_bytes_timeout(nanos(request.idle)))
        .map_err(|()| internal("the engine has no time-outs"))?;
    let body = outgoing.body().map_err(|()| internal("there is no body"))?;
    let answer = outgoing_handler::handle(outgoing, Some(options))?;
    if !request.body.is_empty() {
        let stream = body.write().map_err(|()| internal("there is no stream"))?;
        for chunk in request.body.chunks(WRITE_BYTES) {
            if stream.blocking_write_and_flush(chunk).is_err() {
                // The answer says why.
                break;
            }
        }
    }
    let finished = OutgoingBody::finish(body, None);
    answer.subscribe().block();
    let response = match answer.get() {
        Some(Ok(response)) => response?,
        _ => return Err(internal("the answer is missing")),
    };
    finished?;
    let status = response.status();
    let text = |(name, value): (String, Vec<u8>)| {
        let value = String::from_utf8_lossy(&value).into_owned();
        (name.to_ascii_lowercase(), value)
    };
    let headers = response.headers().entries().into_iter().map(text).collect();
    let body = response
        .consume()
        .map_err(|()| internal("there is no body"))?;
    let stream = body.stream().map_err(|()| internal("there is no stream"))?;
    let body = Incoming {
        stream,
        _body: body,
        _response: response,
    };
    Ok(RawResponse {
        status,
        headers,
        body: Box::new(body),
    })
}

/// The body of an answer. The fields are dropped in their order, children before parents.
struct Incoming {
    stream: InputStream,
    _body: IncomingBody,
    _response: IncomingResponse,
}

impl Body for Incoming {
    fn read(&mut self, until: u64) -> Result<Chunk, Error> {
        loop {
            match self.stream.read(READ_BYTES) {
                Ok(bytes) if !bytes.is_empty() => return Ok(Chunk::Bytes(bytes)),
                Ok(_) => {}
                Err(StreamError::Closed) => return Ok(Chunk::End),
                Err(StreamError::LastOperationFailed(error)) => {
                    return Err(match http_error_code(&error) {
                        Some(code) => explain("the registry", &code),
                        None => {
                            let text = error.to_debug_string();
                            Error::Unavailable(format!("the answer broke off: {text}"))
                        }
                    });
                }
            }
            let left = until.saturating_sub(clock::now());
            if left == 0 {
                return Ok(Chunk::TimedOut);
            }
            let arrived = self.stream.subscribe();
            let late = monotonic_clock::subscribe_duration(left.saturating_mul(1_000_000));
            poll::poll(&[&arrived, &late]);
        }
    }
}

fn explain(authority: &str, code: &ErrorCode) -> Error {
    match code {
        ErrorCode::HttpRequestDenied => Error::Denied(format!(
            "the configuration of the backend does not allow requests to {authority}"
        )),
        ErrorCode::DestinationIpProhibited => Error::Denied(format!(
            "the name in {authority} leads to an address that the engine does not connect to"
        )),
        ErrorCode::HttpResponseBodySize(_) => {
            Error::Protocol(format!("the answer of {authority} is too long"))
        }
        ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => {
            Error::Unavailable(format!("{authority} did not answer in time"))
        }
        ErrorCode::ConnectionTimeout => {
            Error::Unavailable(format!("cannot connect to {authority} in time"))
        }
        ErrorCode::ConnectionRefused => {
            Error::Unavailable(format!("{authority} refuses connections"))
        }
        ErrorCode::HttpProtocolError | ErrorCode::HttpResponseIncomplete => Error::Unavailable(
            format!("{authority} ended the connection, or does not speak HTTP"),
        ),
        // The engine says in words what is wrong with TLS.
        ErrorCode::InternalError(Some(text)) => Error::Unavailable(format!("{authority}: {text}")),
        other => Error::Unavailable(format!("{authority}: {other:?}")),
    }
}
