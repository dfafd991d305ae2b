//! What browsers ask before a page of another origin may call (CORS), and what they look
//! for in each answer.
//!
//! Not poem's middleware: with a list of origins it refuses whatever has another, so that
//! Swagger UI could not send to its own server any more; it leaves `Vary` out; and it
//! would answer beside the front, without a request's id and unseen by the metrics.

use poem::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use poem::http::{HeaderMap, HeaderValue, Method, StatusCode};
use poem::{Request, Response};

use crate::Origin;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE");
/// What the operations, SignalR's clients and those of event streams send.
const HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, x-requested-with, x-signalr-user-agent, last-event-id, traceparent, x-request-id",
);
const EXPOSED: HeaderValue = HeaderValue::from_static("x-request-id, location");
/// In seconds. Long enough that a page does not ask before each call, short enough that an
/// origin that is taken from the list is soon out.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const YES: HeaderValue = HeaderValue::from_static("true");

/// The origins whose pages may call. A page of another gets its answers, too, but its
/// browser does not show them: tokens, and not this list, keep things apart.
#[derive(Debug)]
pub(super) struct Cors {
    origins: Vec<Origin>,
}

/// What an answer needs so that the browser shows it, told before the request is given
/// away.
#[derive(Debug)]
pub(super) struct Grant {
    origin: Option<HeaderValue>,
    varies: bool,
}

impl Cors {
    /// For these; none: no page of another origin may call.
    pub fn new(origins: Vec<Origin>) -> Self {
        Self { origins }
    }

    /// What the answer to this request needs.
    pub fn grant(&self, headers: &HeaderMap) -> Grant {
        let shown = headers.get(ORIGIN);
        let known = |origin: &&HeaderValue| self.origins.iter().any(|one| one.header() == *origin);
        Grant {
            origin: shown.filter(known).cloned(),
            varies: !self.origins.is_empty(),
        }
    }
}

impl Grant {
    /// The answer, where a browser asks whether it may send the request that it has. It
    /// shows no token then: that comes with the request.
    pub fn preflight(&self, request: &Request) -> Option<Response> {
        let asks = request.method() == Method::OPTIONS
            && request
                .headers()
                .contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !asks || self.origin.is_none() {
            return None;
        }
        let answer = Response::builder()
            .status(StatusCode::NO_CONTENT)
            .header(ACCESS_CONTROL_ALLOW_METHODS, METHODS)
            .header(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS)
            .header(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        Some(answer.finish())
    }

    /// Puts into an answer, a failure too, what lets the browser show it.
    pub fn sign(self, headers: &mut HeaderMap) {
        if self.varies {
            headers.append(VARY, HeaderValue::from(ORIGIN));
        }
        if let Some(origin) = self.origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, YES);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors() -> Cors {
        let origins = ["http://localhost:3000", "https://example.org"];
        Cors::new(origins.iter().map(|one| one.parse().unwrap()).collect())
    }

    fn request(method: Method, headers: &[(&'static str, &'static str)]) -> Request {
        let mut request = Request::builder().method(method).finish();
        for (name, value) in headers {
            let value = HeaderValue::from_static(value);
            request.headers_mut().insert(*name, value);
        }
        request
    }

    fn signed(cors: &Cors, request: &Request) -> HeaderMap {
        let mut headers = HeaderMap::new();
        cors.grant(request.headers()).sign(&mut headers);
        headers
    }

    #[test]
    fn an_answer_is_for_the_origin_that_asks_and_is_on_the_list() {
        let cors = cors();
        let headers = signed(
            &cors,
            &request(Method::GET, &[("origin", "https://example.org")]),
        );
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://example.org");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(headers[VARY], "origin");
        for other in [
            &[("origin", "https://example.org.evil.example")][..],
            &[("origin", "http://example.org")],
            &[("origin", "null")],
            &[],
        ] {
            let headers = signed(&cors, &request(Method::GET, other));
            assert_eq!(headers.len(), 1, "{other:?}: {headers:?}");
            assert_eq!(headers[VARY], "origin");
        }
        let none = Cors::new(Vec::new());
        let request = request(Method::GET, &[("origin", "https://example.org")]);
        assert!(signed(&none, &request).is_empty());
    }

    #[test]
    fn only_a_preflight_is_answered_in_advance() {
        let cors = cors();
        let ours = ("origin", "http://localhost:3000");
        let put = ("access-control-request-method", "PUT");
        let answer = |method, headers: &[_]| {
            let request = request(method, headers);
            cors.grant(request.headers()).preflight(&request)
        };
        let preflight = answer(Method::OPTIONS, &[ours, put]).unwrap();
        assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
        assert_eq!(preflight.header("access-control-max-age"), Some("600"));
        for (method, headers) in [
            (Method::OPTIONS, &[ours][..]),
            (Method::OPTIONS, &[put]),
            (Method::OPTIONS, &[("origin", "http://localhost:3001"), put]),
            (Method::GET, &[ours, put]),
        ] {
            assert!(
                answer(method.clone(), headers).is_none(),
                "{method} {headers:?}"
            );
        }
    }
}
