//! What all requests share: an id, a time limit, a log line, metrics, headers, what a page
//! of another origin needs; and that whatever fails is answered as a problem, panics included.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use poem::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use poem::http::{HeaderValue, Method};
use poem::{Endpoint, PathPattern, Request, Response};
use tracing::Instrument;
use uuid::Uuid;

use crate::context::Context;
use crate::events::LONGEST_WAIT;
use crate::problem::{Kind, Problem, from_poem};
use crate::routes::{Place, Routes};
use crate::{Limits, Origin};

mod cors;
mod query;

use cors::Cors;
pub(crate) use query::take_token;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A request's own id that is longer is not taken.
const LONGEST_ID: usize = 128;
/// The longest that a hub lets a poll wait: 90 s unless it is configured otherwise.
const LONGEST_POLL: Duration = Duration::from_secs(90);
/// The route of what matches none: one word, so that nobody can make metrics without end.
const UNMATCHED: &str = "unmatched";

/// Headers that each answer has, unless it has one of its own.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
];

/// All operations, behind what they share.
pub(crate) struct Front<E> {
    inner: E,
    context: Context,
    routes: Routes,
    cors: Cors,
}

impl<E> Front<E> {
    /// Before these operations, which are at these places, also for pages of these origins.
    pub fn new(inner: E, context: Context, routes: Routes, origins: Vec<Origin>) -> Self {
        Self {
            inner,
            context,
            routes,
            cors: Cors::new(origins),
        }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for Front<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let started = Instant::now();
        let id = request_id(&request);
        let method = request.method().clone();
        let patience = patience(&request, &self.context.limits);
        request.set_data(self.context.clone());
        let span = tracing::info_span!("request", id);
        let grant = self.cors.grant(request.headers());
        let answer = match grant.preflight(&request) {
            Some(preflight) => Ok(preflight),
            None => {
                let call = attempt(patience, self.inner.call(request));
                call.instrument(span).await
            }
        };
        let (answer, place) = match answer {
            Ok(response) => {
                let place = self.place(response.data::<PathPattern>());
                (Ok(response), place)
            }
            Err(error) => {
                let place = self.place(error.data::<PathPattern>());
                (Err(from_poem(error, place)), place)
            }
        };
        let cause = answer
            .as_ref()
            .err()
            .and_then(Problem::cause)
            .map(str::to_owned);
        let mut response = answer.unwrap_or_else(|problem| problem.response(&id));
        let headers = response.headers_mut();
        for (name, value) in &HEADERS {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        grant.sign(headers);
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(REQUEST_ID, id);
        }
        let route = place.map_or(UNMATCHED, Place::path);
        let status = response.status().as_u16();
        let took = started.elapsed();
        self.context
            .metrics
            .answered(known(&method), route, status, took);
        log(&method, route, status, took, &id, cause.as_deref());
        Ok(response)
    }
}

impl<E> Front<E> {
    fn place(&self, pattern: Option<&PathPattern>) -> Option<&Place> {
        self.routes.place(&pattern?.0)
    }
}

/// Answers within `patience`, whatever the call does.
async fn attempt(
    patience: Duration,
    call: impl Future<Output = poem::Result<Response>>,
) -> poem::Result<Response> {
    let call = tokio::time::timeout(patience, call);
    match AssertUnwindSafe(call).catch_unwind().await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(timed_out(patience).into()),
        Err(panic) => Err(panicked(&*panic).into()),
    }
}

/// The id that the request brought, or a new one. Only what is harmless in a log is taken.
fn request_id(request: &Request) -> String {
    let brought = request.header(REQUEST_ID).filter(|id| {
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(harmless)
    });
    brought.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// How long a request may take. An upload is bounded by how long it sends nothing, too,
/// and a request that waits on purpose by what it asks for.
fn patience(request: &Request, limits: &Limits) -> Duration {
    let path = request.uri().path();
    let upload = (request.method() == Method::PUT && path.starts_with("/api/v1/modules/"))
        || (request.method() == Method::POST && path == "/api/v1/strategies");
    if upload {
        limits.upload
    } else if path.starts_with("/api/v1/deployments/") && path.ends_with("/events") {
        limits.request + Duration::from_secs(LONGEST_WAIT)
    } else if path.starts_with("/hubs/") {
        // A poll waits on purpose.
        limits.request + LONGEST_POLL
    } else {
        limits.request
    }
}

fn timed_out(patience: Duration) -> Problem {
    let seconds = patience.as_secs();
    let detail = format!(
        "no answer within {seconds} s; whether anything was done is unknown: look, then try again"
    );
    Problem::new(Kind::TimedOut, detail)
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Problem {
    let said = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    Problem::new(Kind::Internal, "").with_cause(&Panic(said))
}

#[derive(Debug, thiserror::Error)]
#[error("a panic: {0}")]
struct Panic(String);

/// The method as a label: one word for all that nobody uses.
fn known(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS => method.as_str(),
        _ => "other",
    }
}

/// One line for each request: never a query, a body or a header, where secrets stand.
fn log(method: &Method, route: &str, status: u16, took: Duration, id: &str, cause: Option<&str>) {
    let (method, millis) = (known(method), took.as_millis());
    if status >= 500 {
        tracing::error!(method, route, status, millis, id, cause, "request failed");
    } else if matches!(method, "GET" | "HEAD" | "OPTIONS") || route.ends_with("/heartbeat") {
        tracing::debug!(method, route, status, millis, id, "request answered");
    } else {
        tracing::info!(method, route, status, millis, id, "request answered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(10);

    async fn problem(call: impl Future<Output = poem::Result<Response>>) -> (u16, String) {
        let error = attempt(SOON, call).await.unwrap_err();
        let response = from_poem(error, None).response("id-1");
        let status = response.status().as_u16();
        (status, response.into_body().into_string().await.unwrap())
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_that_tells_nothing() {
        let (status, body) = problem(async { panic!("the secret is 42") }).await;
        assert_eq!(status, 500);
        assert!(body.contains("urn:hotswap:problem:internal"), "{body}");
        assert!(body.contains("id-1") && !body.contains("42"), "{body}");
    }

    #[tokio::test]
    async fn what_takes_too_long_is_answered() {
        let (status, body) = problem(std::future::pending()).await;
        assert_eq!(status, 503);
        assert!(body.contains("urn:hotswap:problem:timed-out"), "{body}");
    }

    #[test]
    fn only_a_harmless_id_is_taken() {
        let id = |brought: &str| {
            let request = Request::builder().header("x-request-id", brought).finish();
            request_id(&request)
        };
        assert_eq!(id("abc-1.2_3:4"), "abc-1.2_3:4");
        for bad in ["", "a b", "a\tb", "<script>", &"x".repeat(129)] {
            let id = id(bad);
            assert_eq!(
                id.parse::<Uuid>().map(|id| id.get_version_num()),
                Ok(7),
                "{bad}"
            );
        }
    }

    #[test]
    fn only_uploads_and_waits_may_take_long() {
        let limits = Limits::default();
        let of = |method: Method, path: &str| {
            let request = Request::builder().method(method).uri_str(path).finish();
            patience(&request, &limits)
        };
        assert_eq!(
            of(Method::PUT, "/api/v1/modules/a/versions/1.0.0"),
            limits.upload
        );
        assert_eq!(of(Method::POST, "/api/v1/strategies"), limits.upload);
        assert_eq!(
            of(Method::GET, "/api/v1/modules/a/versions/1.0.0"),
            limits.request
        );
        assert_eq!(of(Method::POST, "/api/v1/deployments"), limits.request);
        let longest = limits.request + Duration::from_secs(LONGEST_WAIT);
        assert_eq!(
            of(Method::GET, "/api/v1/deployments/1/events?wait=60"),
            longest
        );
    }
}
