//! How long a request may take, and what happens when it takes longer or panics.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use poem::http::Method;
use poem::{Request, Response};

use crate::Limits;
use crate::problem::{Kind, Problem};
use crate::rest::MAX_EVENT_WAIT;

/// The longest time that a hub holds a poll back: 90 s unless configured otherwise.
const MAX_HUB_POLL: Duration = Duration::from_secs(90);

#[derive(Debug, thiserror::Error)]
#[error("an operation panicked: {0}")]
struct Panic(String);

/// The time limit of a request. Uploads get more time, since a second limit ends those that
/// stall; requests that wait for events may wait in addition to the usual time.
pub(super) fn of(request: &Request, limits: &Limits) -> Duration {
    let path = request.uri().path();
    let is_upload = (request.method() == Method::PUT && path.starts_with("/api/v1/modules/"))
        || (request.method() == Method::POST
            && matches!(path, "/api/v1/strategies" | "/api/v1/backends"));
    if is_upload {
        limits.upload_timeout
    } else if path.starts_with("/api/v1/deployments/") && path.ends_with("/events") {
        limits.request_timeout + Duration::from_secs(MAX_EVENT_WAIT)
    } else if path.starts_with("/hubs/") {
        limits.request_timeout + MAX_HUB_POLL
    } else {
        limits.request_timeout
    }
}

/// Runs a call until `limit` at most. A time-out or a panic becomes a problem.
pub(super) async fn enforce(
    limit: Duration,
    call: impl Future<Output = poem::Result<Response>>,
) -> poem::Result<Response> {
    let call = tokio::time::timeout(limit, call);
    match AssertUnwindSafe(call).catch_unwind().await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(timed_out(limit).into()),
        Err(panic) => Err(panicked(&*panic).into()),
    }
}

fn timed_out(limit: Duration) -> Problem {
    let seconds = limit.as_secs();
    let detail = format!(
        "the engine did not finish within {seconds} s, and the request may have been carried out; check the state, then retry"
    );
    Problem::new(Kind::TimedOut, detail)
}

fn panicked(panic: &(dyn Any + Send)) -> Problem {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    Problem::internal().with_cause(&Panic(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::from_poem;

    const SOON: Duration = Duration::from_millis(10);

    async fn problem(call: impl Future<Output = poem::Result<Response>>) -> (u16, String) {
        let error = enforce(SOON, call).await.unwrap_err();
        let response = from_poem(error, None).response("id-1");
        let status = response.status().as_u16();
        (status, response.into_body().into_string().await.unwrap())
    }

    #[tokio::test]
    async fn a_panic_becomes_a_problem_without_its_message() {
        let (status, body) = problem(async { panic!("the secret is 42") }).await;
        assert_eq!(status, 500);
        assert!(body.contains("urn:hotswap:problem:internal"), "{body}");
        assert!(body.contains("id-1") && !body.contains("42"), "{body}");
    }

    #[tokio::test]
    async fn a_call_that_takes_too_long_is_answered() {
        let (status, body) = problem(std::future::pending()).await;
        assert_eq!(status, 503);
        assert!(body.contains("urn:hotswap:problem:timed-out"), "{body}");
    }

    #[test]
    fn only_uploads_and_waits_get_more_time() {
        let limits = Limits::default();
        let limit = |method: Method, path: &str| {
            let request = Request::builder().method(method).uri_str(path).finish();
            of(&request, &limits)
        };
        let version = "/api/v1/modules/a/versions/1.0.0";
        assert_eq!(limit(Method::PUT, version), limits.upload_timeout);
        assert_eq!(limit(Method::GET, version), limits.request_timeout);
        for components in ["/api/v1/strategies", "/api/v1/backends"] {
            assert_eq!(limit(Method::POST, components), limits.upload_timeout);
        }
        let deployments = "/api/v1/deployments";
        assert_eq!(limit(Method::POST, deployments), limits.request_timeout);
        let wait = limits.request_timeout + Duration::from_secs(MAX_EVENT_WAIT);
        let events = "/api/v1/deployments/1/events?wait=60";
        assert_eq!(limit(Method::GET, events), wait);
    }
}
