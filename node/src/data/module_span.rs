//! The span of a module's request.

use hotswap_common::trace::{self, Kind, Span, TRACEPARENT, TraceContext};
use hotswap_protocol::Version;
use http::{HeaderName, HeaderValue};
use hyper::Request;

use crate::server_span;

const HEADER: HeaderName = HeaderName::from_static(TRACEPARENT);
const STATE: HeaderName = HeaderName::from_static("tracestate");

/// Begins the span of a request, and tells the module of it: what the module does is part of the
/// same trace, or of none. A request of a client continues the client's trace; a probe continues
/// that of the order to probe.
///
/// Where tracing is off, the module gets what the client has sent, but for a state without its
/// context.
pub(super) fn begin<B>(request: &mut Request<B>) -> Span {
    let parent = match request.headers().get(HEADER) {
        Some(header) => header.to_str().ok().and_then(|text| text.parse().ok()),
        None => trace::current(),
    };
    if parent.is_none() {
        // A broken context begins a new trace, to which a state of the old one does not belong.
        request.headers_mut().remove(STATE);
    }
    let span = Span::continuing(parent, "module", Kind::Server);
    if let Some(context) = span.context() {
        tell(request, context);
    }
    span
}

fn tell<B>(request: &mut Request<B>, context: TraceContext) {
    if let Ok(header) = HeaderValue::try_from(context.to_string()) {
        request.headers_mut().insert(HEADER, header);
    }
}

/// Says which version of which module answers. Never the path or a query.
pub(super) fn describe<B>(span: &mut Span, request: &Request<B>, module: &str, version: &Version) {
    span.set_request(request.method().as_str(), Some(module));
    span.set_text("hotswap.module.name", &module);
    span.set_text("hotswap.module.version", &version.version);
    server_span::set_server(span, request.uri(), request.headers(), request.extensions());
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// The tracer of a test's process is never installed.
    #[test]
    fn without_a_tracer_the_module_gets_what_the_client_sent() {
        let mut request = Request::get("/").header(HEADER, CALLER).body(()).unwrap();
        drop(begin(&mut request));
        assert_eq!(request.headers()[HEADER], CALLER);
        let mut request = Request::get("/").body(()).unwrap();
        drop(begin(&mut request));
        assert!(request.headers().is_empty());
    }

    #[test]
    fn a_probe_continues_the_trace_of_the_order() {
        let context: TraceContext = CALLER.parse().unwrap();
        let mut request = Request::get("/").body(()).unwrap();
        trace::within_sync(Some(context), || drop(begin(&mut request)));
        assert_eq!(request.headers()[HEADER], CALLER);
    }

    /// Whether the module gets the state that a client sent beside this context.
    fn keeps_state(context: Option<&str>) -> bool {
        let mut request = Request::builder().header(STATE, "vendor=1");
        if let Some(context) = context {
            request = request.header(HEADER, context);
        }
        let mut request = request.body(()).expect("a valid request");
        begin(&mut request);
        request.headers().contains_key(STATE)
    }

    #[test]
    fn the_state_of_a_trace_goes_with_it_and_not_with_another() {
        assert!(keeps_state(Some(CALLER)));
        assert!(!keeps_state(Some("00-broken")));
        assert!(!keeps_state(None));
    }
}
