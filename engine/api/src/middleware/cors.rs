//! Lets pages of other origins call the API (CORS): answers preflight requests, and sets the
//! headers that browsers look for in each response.
//!
//! Not poem's middleware, for three reasons. With a list of origins it rejects requests from
//! all others, so that Swagger UI could not call its own server. It omits `Vary`. And it
//! would answer preflights outside the rest of the middleware: without a request id, and
//! uncounted.

use poem::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use poem::http::{HeaderMap, HeaderValue, Method, StatusCode};
use poem::{Request, Response};

use crate::Origin;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE");
/// The headers that the operations, SignalR clients and event stream clients need.
const HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, x-requested-with, x-signalr-user-agent, last-event-id, traceparent, tracestate, idempotency-key, x-request-id",
);
const EXPOSED: HeaderValue = HeaderValue::from_static("x-request-id, location");
/// In seconds. Long enough that a page does not send a preflight before each call, short
/// enough that an origin soon loses access when it is removed from the list.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// The origins whose pages may call the API. Requests from other pages are answered too, but
/// the browser hides the response from the page. Access depends on tokens, not on this list.
#[derive(Debug)]
pub(super) struct Cors {
    origins: Vec<Origin>,
}

/// What the response to one request needs so that the browser shows it to the page. Made
/// before the request is moved into its operation.
#[derive(Debug)]
pub(super) struct Grant {
    origin: Option<HeaderValue>,
    vary: bool,
}

impl Cors {
    /// Allows these origins. An empty list allows no other origin.
    pub fn new(origins: Vec<Origin>) -> Self {
        Self { origins }
    }

    /// The grant for a request with these headers.
    pub fn grant(&self, headers: &HeaderMap) -> Grant {
        let origin = headers.get(ORIGIN);
        let is_allowed =
            |origin: &&HeaderValue| self.origins.iter().any(|one| one.header() == *origin);
        Grant {
            origin: origin.filter(is_allowed).cloned(),
            vary: !self.origins.is_empty(),
        }
    }
}

impl Grant {
    /// The response, if the request is a preflight from an allowed origin. Preflights have no
    /// token: that comes with the actual request.
    pub fn preflight(&self, request: &Request) -> Option<Response> {
        let is_preflight = request.method() == Method::OPTIONS
            && request
                .headers()
                .contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight || self.origin.is_none() {
            return None;
        }
        let response = Response::builder()
            .status(StatusCode::NO_CONTENT)
            .header(ACCESS_CONTROL_ALLOW_METHODS, METHODS)
            .header(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS)
            .header(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        Some(response.finish())
    }

    /// Sets the headers of a response, be it a success or a failure.
    pub fn apply(self, headers: &mut HeaderMap) {
        if self.vary {
            headers.append(VARY, HeaderValue::from(ORIGIN));
        }
        if let Some(origin) = self.origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
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

    fn response_headers(cors: &Cors, request: &Request) -> HeaderMap {
        let mut headers = HeaderMap::new();
        cors.grant(request.headers()).apply(&mut headers);
        headers
    }

    #[test]
    fn only_a_listed_origin_is_granted() {
        let cors = cors();
        let headers = response_headers(
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
            let headers = response_headers(&cors, &request(Method::GET, other));
            assert_eq!(headers.len(), 1, "{other:?}: {headers:?}");
            assert_eq!(headers[VARY], "origin");
        }
        let none = Cors::new(Vec::new());
        let request = request(Method::GET, &[("origin", "https://example.org")]);
        assert!(response_headers(&none, &request).is_empty());
    }

    #[test]
    fn only_a_preflight_is_answered() {
        let cors = cors();
        let allowed = ("origin", "http://localhost:3000");
        let put = ("access-control-request-method", "PUT");
        let preflight = |method, headers: &[_]| {
            let request = request(method, headers);
            cors.grant(request.headers()).preflight(&request)
        };
        let response = preflight(Method::OPTIONS, &[allowed, put]).unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(response.header("access-control-max-age"), Some("600"));
        for (method, headers) in [
            (Method::OPTIONS, &[allowed][..]),
            (Method::OPTIONS, &[put]),
            (Method::OPTIONS, &[("origin", "http://localhost:3001"), put]),
            (Method::GET, &[allowed, put]),
        ] {
            assert!(
                preflight(method.clone(), headers).is_none(),
                "{method} {headers:?}"
            );
        }
    }
}
