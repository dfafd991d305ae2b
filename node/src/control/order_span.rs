//! The span of a request of the engine.

use hotswap_common::trace::{Kind, Span, TRACEPARENT, TraceContext};
use http::{Method, Request};

use crate::server_span;

/// Begins a span, which continues the engine's trace. A request without one begins none: nobody
/// looks for traces of readings and polls.
pub(super) fn begin<B>(request: &Request<B>) -> Span {
    let engine: Option<TraceContext> = request
        .headers()
        .get(TRACEPARENT)
        .and_then(|header| header.to_str().ok()?.parse().ok());
    let name = name(request.method(), request.uri().path());
    match engine.zip(name) {
        Some((engine, name)) => {
            let mut span = Span::continuing(Some(engine), name, Kind::Server);
            let (method, route) = name.split_once(' ').unwrap_or((name, ""));
            span.set("http.request.method", method);
            span.set("http.route", route);
            if span.is_recorded() {
                server_span::set_server(
                    &mut span,
                    request.uri(),
                    request.headers(),
                    request.extensions(),
                );
            }
            span
        }
        None => Span::child("request", Kind::Server),
    }
}

/// The requests that change something, or run a module. A reading is none: a soak takes one each
/// second.
fn name(method: &Method, path: &str) -> Option<&'static str> {
    let is = |wanted: Method, end: &str| *method == wanted && path.ends_with(end);
    if *method == Method::PUT && path.contains("/operations/") {
        return Some("PUT /v1/modules/:module/operations/:operation");
    }
    is(Method::POST, "/probe").then_some("POST /v1/modules/:module/probe")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_probes_have_spans() {
        let order = name(&Method::PUT, "/v1/modules/shop/operations/d1.3");
        assert_eq!(order, Some("PUT /v1/modules/:module/operations/:operation"));
        let probe = name(&Method::POST, "/v1/modules/shop/probe");
        assert_eq!(probe, Some("POST /v1/modules/:module/probe"));
        assert_eq!(name(&Method::GET, "/v1/modules/shop"), None);
        assert_eq!(name(&Method::POST, "/v1/modules/shop/synthetic"), None);
    }
}
