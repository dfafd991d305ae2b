//! What all requests share: a request id, a time limit, a log line, metrics, response
//! headers and CORS. Every failure becomes a problem here, panics included.

mod cors;
mod query_token;
mod request_id;
mod request_log;
mod request_span;
mod response_headers;
mod time_limit;

use std::time::Instant;

use hotswap_common::trace;
use poem::{Endpoint, PathPattern, Request, Response};
use tracing::Instrument;

use crate::Origin;
use crate::context::Context;
use crate::problem::{Problem, from_poem};
use crate::routes::{Route, Routes};

use cors::Cors;
pub(crate) use query_token::take_query_token;

/// The route of requests that match none, in logs and metrics. One name for all, because a label
/// for each unknown path would let clients create metrics without limit. Their spans have no route.
const UNMATCHED: &str = "unmatched";

/// An endpoint behind the middleware.
pub(crate) struct WithMiddleware<E> {
    inner: E,
    context: Context,
    routes: Routes,
    cors: Cors,
}

impl<E> WithMiddleware<E> {
    /// Wraps an endpoint that serves these routes. Pages of `origins` may call it, too.
    pub fn new(inner: E, context: Context, routes: Routes, origins: Vec<Origin>) -> Self {
        Self {
            inner,
            context,
            routes,
            cors: Cors::new(origins),
        }
    }

    fn route(&self, pattern: Option<&PathPattern>) -> Option<&Route> {
        self.routes.find(&pattern?.0)
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for WithMiddleware<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let started = Instant::now();
        let id = request_id::of(&request);
        let method = request.method().clone();
        let time_limit = time_limit::of(&request, &self.context.limits);
        request.set_data(self.context.clone());
        let span = tracing::info_span!("request", id);
        let mut traced = request_span::begin(&request);
        let grant = self.cors.grant(request.headers());
        let result = match grant.preflight(&request) {
            Some(preflight) => Ok(preflight),
            None => {
                let call = time_limit::enforce(time_limit, self.inner.call(request));
                traced.run(call).instrument(span).await
            }
        };
        let (result, route) = match result {
            Ok(response) => {
                let route = self.route(response.data::<PathPattern>());
                (Ok(response), route)
            }
            Err(error) => {
                let route = self.route(error.data::<PathPattern>());
                (Err(from_poem(error, route)), route)
            }
        };
        let cause = result
            .as_ref()
            .err()
            .and_then(Problem::cause)
            .map(str::to_owned);
        let mut response = result.unwrap_or_else(|problem| problem.response(&id));
        let headers = response.headers_mut();
        response_headers::add_defaults(headers);
        grant.apply(headers);
        request_id::set(headers, &id);
        let route = route.map(Route::path);
        let status = response.status().as_u16();
        let duration = started.elapsed();
        request_span::describe(&mut traced, (method.as_str(), route, status), &id);
        let method = trace::known_method(method.as_str()).unwrap_or(trace::OTHER_METHOD);
        let route = route.unwrap_or(UNMATCHED);
        self.context
            .metrics
            .record_request(method, route, status, duration);
        trace::within_sync(traced.context(), || {
            request_log::log(method, route, status, duration, &id, cause.as_deref());
        });
        Ok(response)
    }
}
