//! One log line for each request.

use std::time::Duration;

/// Logs an answered request. Never logs a query, a header or a body, because those hold
/// secrets.
pub(super) fn log(
    method: &str,
    route: &str,
    status: u16,
    duration: Duration,
    id: &str,
    cause: Option<&str>,
) {
    let millis = duration.as_millis();
    if status >= 500 {
        tracing::error!(method, route, status, millis, id, cause, "request failed");
    } else if matches!(method, "GET" | "HEAD" | "OPTIONS") || route.ends_with("/heartbeat") {
        // These are frequent and change nothing.
        tracing::debug!(method, route, status, millis, id, "request answered");
    } else {
        tracing::info!(method, route, status, millis, id, "request answered");
    }
}
