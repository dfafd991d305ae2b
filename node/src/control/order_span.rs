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
/// second. `None` also for a path that only looks like one of these: it matches no route.
fn name(method: &Method, path: &str) -> Option<&'static str> {
    let mut segments = path.strip_prefix("/v1/modules/")?.split('/');
    let _module = segments.next().filter(|module| !module.is_empty())?;
    let end = [segments.next(), segments.next(), segments.next()];
    match (method, end) {
        (&Method::PUT, [Some("operations"), Some(operation), None]) if !operation.is_empty() => {
            Some("PUT /v1/modules/:module/operations/:operation")
        }
        (&Method::POST, [Some("probe"), None, None]) => Some("POST /v1/modules/:module/probe"),
        _ => None,
    }
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

    #[test]
    fn a_path_that_matches_no_route_has_no_span() {
        for path in [
            "/v1/operations/d1.3",
            "/v1/modules/shop/operations/",
            "/v1/modules//operations/d1.3",
            "/v1/modules/shop/operations/d1.3/more",
            "/v2/modules/shop/operations/d1.3",
        ] {
            assert_eq!(name(&Method::PUT, path), None, "{path}");
        }
        for path in ["/probe", "/v1/modules/probe", "/v1/modules/shop/v2/probe"] {
            assert_eq!(name(&Method::POST, path), None, "{path}");
        }
    }
}
