//! What spans of requests to the node's ports have in common.

use hotswap_common::trace::{self, Span};
use http::header::HOST;
use http::uri::Authority;
use http::{Extensions, HeaderMap, Uri};

/// That a request came over TLS. No request has it where tracing is off: nobody would read it.
#[derive(Debug, Clone, Copy)]
struct OverTls;

/// Marks a request that came over TLS.
pub(crate) fn mark_tls(extensions: &mut Extensions) {
    if trace::is_on() {
        extensions.insert(OverTls);
    }
}

/// Says at which of its names and ports the node got a request.
pub(crate) fn set_server(span: &mut Span, uri: &Uri, headers: &HeaderMap, extensions: &Extensions) {
    let scheme = match extensions.get::<OverTls>() {
        Some(OverTls) => "https",
        None => "http",
    };
    // HTTP/2 has it in the URI.
    let authority = uri.authority().map(Authority::as_str);
    let host = || headers.get(HOST)?.to_str().ok();
    span.set_server(scheme, authority.or_else(host).unwrap_or_default());
}
