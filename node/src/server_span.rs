//! What spans of requests to the node's ports have in common.

use hotswap_common::trace::{self, Span};
use http::header::HOST;
use http::uri::Authority;
use http::{Extensions, HeaderMap, Uri};

/// Marks a request that came over TLS. Not set where tracing is off: nothing would read it.
#[derive(Debug, Clone, Copy)]
struct OverTls;

/// Marks a request that came over TLS.
pub(crate) fn mark_tls(extensions: &mut Extensions) {
    if trace::is_on() {
        extensions.insert(OverTls);
    }
}

/// Sets the name and the port of the node to which the client sent the request.
pub(crate) fn set_server(span: &mut Span, uri: &Uri, headers: &HeaderMap, extensions: &Extensions) {
    let scheme = match extensions.get::<OverTls>() {
        Some(OverTls) => "https",
        None => "http",
    };
    // In HTTP/2 the URI has the host.
    let authority = uri.authority().map(Authority::as_str);
    let host = || headers.get(HOST)?.to_str().ok();
    span.set_server(scheme, authority.or_else(host).unwrap_or_default());
}
