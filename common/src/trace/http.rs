//! What the semantic conventions of OpenTelemetry ask of spans of HTTP.

use super::{Span, Value};

/// The name of all methods that [`known_method`] does not know.
pub const OTHER_METHOD: &str = "_OTHER";

/// A method as the conventions know it: exactly as HTTP writes it, or `None`. Clients may send any
/// word as a method, so one that is not known must name no span and label no series.
pub fn known_method(method: &str) -> Option<&'static str> {
    const KNOWN: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE",
    ];
    KNOWN.into_iter().find(|known| *known == method)
}

impl Span {
    /// Says that this span is a request with `method`, for `target`: a template of paths, or a module,
    /// and nothing that a client chooses. `None` where it is not known: then the method alone names
    /// the span.
    ///
    /// A method that is not known becomes [`OTHER_METHOD`], with what the client sent in
    /// `http.request.method_original`, and the name of the span begins with `HTTP`.
    pub fn set_request(&mut self, method: &str, target: Option<&str>) {
        if !self.is_recorded() {
            return;
        }
        let known = known_method(method);
        self.set("http.request.method", known.unwrap_or(OTHER_METHOD));
        if known.is_none() {
            self.set_text("http.request.method_original", &method);
        }
        let name = known.unwrap_or("HTTP");
        self.set_name(|| match target {
            Some(target) => format!("{name} {target}"),
            None => name.to_owned(),
        });
    }

    /// Says which server a request is for: `url.scheme`, `server.address` and `server.port`, the
    /// port of the scheme where `authority` names none. `authority` is a host, or a host and a port,
    /// as in a URL or in the header `Host`. It may come from a stranger: an invalid one is left out.
    pub fn set_server(&mut self, scheme: &'static str, authority: &str) {
        if !self.is_recorded() {
            return;
        }
        self.set("url.scheme", scheme);
        if let Some((host, port)) = host_and_port(scheme, authority) {
            self.set_text("server.address", &host);
            self.set("server.port", port);
        }
    }

    /// Marks the span as failed. `kind` becomes `error.type`: a name from a small set, or the status
    /// of the answer.
    pub fn fail_as(&mut self, kind: impl Into<Value>, reason: &impl ToString) {
        self.set("error.type", kind);
        self.fail(reason);
    }

    /// As [`Self::fail_as`], with the status of an answer as the kind of the failure.
    pub fn fail_with_status(&mut self, status: u16, reason: &impl ToString) {
        if self.is_recorded() {
            self.fail_as(Value::Text(status.to_string()), reason);
        }
    }
}

/// The host, without the brackets of IPv6, and the port. None where there are credentials.
fn host_and_port<'a>(scheme: &str, authority: &'a str) -> Option<(&'a str, u16)> {
    let default = if scheme == "https" { 443 } else { 80 };
    let (host, rest) = match authority.strip_prefix('[') {
        Some(address) => address.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => default,
        None => return None,
        Some("") => default,
        Some(port) => port.parse().ok()?,
    };
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    let is_host = !host.is_empty() && host.chars().all(is_part);
    is_host.then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_known_as_http_writes_them() {
        for method in ["GET", "PATCH", "CONNECT", "TRACE"] {
            assert_eq!(known_method(method), Some(method));
        }
        for method in ["get", "BREW", "", "_OTHER"] {
            assert_eq!(known_method(method), None, "{method}");
        }
    }

    #[test]
    fn an_authority_has_a_host_and_a_port() {
        for (scheme, authority, expected) in [
            ("http", "shop", Some(("shop", 80))),
            ("https", "shop.example", Some(("shop.example", 443))),
            ("http", "127.0.0.1:8080", Some(("127.0.0.1", 8080))),
            ("https", "[::1]:8443", Some(("::1", 8443))),
            ("http", "[fe80::1]", Some(("fe80::1", 80))),
            ("http", "shop:", Some(("shop", 80))),
        ] {
            assert_eq!(host_and_port(scheme, authority), expected, "{authority}");
        }
    }

    #[test]
    fn what_is_no_host_is_left_out() {
        for authority in [
            "",
            ":80",
            "shop:http",
            "shop:99999",
            "[::1",
            "[::1]80",
            "user:secret@shop",
            "a b",
            "a/b",
        ] {
            assert_eq!(host_and_port("http", authority), None, "{authority}");
        }
    }
}
