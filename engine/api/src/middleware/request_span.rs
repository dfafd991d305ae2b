//! The span of a request.

use hotswap_common::trace::{Kind, Span, TRACEPARENT, TraceContext};
use poem::Request;
use poem::http::header::HOST;
use poem::http::uri::{Authority, Scheme};

/// Begins a span, which continues the trace of the client. Where the client has none, only a
/// request of the API begins one: nobody looks for traces of probes, scrapes and heartbeats.
pub(super) fn begin(request: &Request) -> Span {
    let caller: Option<TraceContext> = request
        .header(TRACEPARENT)
        .and_then(|header| header.parse().ok());
    let path = request.uri().path();
    if caller.is_none() && (!path.starts_with("/api/") || path.ends_with("/heartbeat")) {
        return Span::child("request", Kind::Server);
    }
    let mut span = Span::continuing(caller, "request", Kind::Server);
    if span.is_recorded() {
        let scheme = match *request.scheme() == Scheme::HTTPS {
            true => "https",
            false => "http",
        };
        // In HTTP/2 the URI has the host.
        let authority = request.original_uri().authority().map(Authority::as_str);
        let authority = authority.or_else(|| request.header(HOST));
        span.set_server(scheme, authority.unwrap_or_default());
    }
    span
}

/// Says what the request was, once that is known. Never the path itself or a query. A request that
/// matches no route has none.
pub(super) fn describe(
    span: &mut Span,
    (method, route, status): (&str, Option<&str>, u16),
    id: &str,
) {
    span.set_request(method, route);
    if let Some(route) = route {
        span.set_text("http.route", &route);
    }
    span.set("http.response.status_code", status);
    span.set_text("hotswap.request.id", &id);
    if status >= 500 {
        span.fail_with_status(status, &"the request failed; the log has the cause");
    }
}
