//! `/hubs/…`: the SignalR hubs behind the same front as the REST API.

use std::sync::Arc;
use std::time::Duration;

use hotswap_runner::Engine;
use hotswap_signalr::{Guest, Hub, Refusal, Service};
use poem::http::Method;
use poem::{Endpoint, PathPattern, Request, Response};
use tokio::time::Instant;

use super::deployments::DeploymentsHub;
use super::metrics::MetricsHub;
use crate::auth::Identity;
use crate::config::Live;
use crate::context::Context;
use crate::extract::identify;
use crate::problem::{Kind, Problem};

const DEPLOYMENTS: &str = "/hubs/deployments";
/// What the hub was called once.
const DEPLOYMENT: &str = "/hubs/deployment";
const METRICS: &str = "/hubs/metrics";
const NEGOTIATE: &str = "/negotiate";

/// The hubs of one server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hubs {
    deployments: Service<DeploymentsHub>,
    metrics: Service<MetricsHub>,
}

/// The REST API, and the hubs beside it.
pub(crate) struct WithHubs<E> {
    api: E,
    hubs: Hubs,
}

impl Hubs {
    /// The hubs of an engine. Must be called within a runtime.
    pub fn new(engine: &Engine, live: &Live) -> Self {
        let deployments = DeploymentsHub::new(engine.deployments.clone(), &live.hubs.capacity);
        let metrics = MetricsHub::new(engine.clone(), live.metrics_every);
        Self {
            deployments: Service::new(Arc::new(deployments), live.hubs),
            metrics: Service::new(Arc::new(metrics), live.hubs),
        }
    }

    /// Each path with what it is for, to name requests by.
    pub fn places() -> [(String, &'static [&'static str]); 6] {
        let hub: &[&str] = &["GET", "POST", "DELETE"];
        let negotiate: &[&str] = &["POST"];
        [
            (DEPLOYMENTS.to_owned(), hub),
            (DEPLOYMENT.to_owned(), hub),
            (METRICS.to_owned(), hub),
            (format!("{DEPLOYMENTS}{NEGOTIATE}"), negotiate),
            (format!("{DEPLOYMENT}{NEGOTIATE}"), negotiate),
            (format!("{METRICS}{NEGOTIATE}"), negotiate),
        ]
    }

    /// Tells what happens, without end.
    pub async fn follow(&self) {
        tokio::join!(self.deployments.hub().follow(), self.metrics.hub().follow());
    }

    /// Connections at this moment, of both hubs.
    pub fn connections(&self) -> [(&'static str, usize); 2] {
        [
            ("deployments", self.deployments.connections()),
            ("metrics", self.metrics.connections()),
        ]
    }

    /// Tells everybody that they should come back, and waits for their going, at most so
    /// long.
    pub async fn shutdown(&self, grace: Duration) {
        tokio::join!(
            self.deployments.shutdown(grace),
            self.metrics.shutdown(grace)
        );
    }

    /// The answer to a request for one of the hubs; the request back, where it is not.
    async fn call(&self, request: Request) -> Result<Result<Response, Problem>, Request> {
        let path = request.uri().path();
        let (hub, negotiates) = match path.strip_suffix(NEGOTIATE) {
            Some(hub) => (hub, true),
            None => (path, false),
        };
        match hub {
            DEPLOYMENTS | DEPLOYMENT => Ok(serve(&self.deployments, request, negotiates).await),
            METRICS => Ok(serve(&self.metrics, request, negotiates).await),
            _ => Err(request),
        }
    }
}

async fn serve<H: Hub<User = Identity>>(
    service: &Service<H>,
    mut request: Request,
    negotiates: bool,
) -> Result<Response, Problem> {
    let guest = guest(&request)?;
    let answer = if !negotiates {
        let body = request.take_body();
        service.connect(&request, body, guest).await
    } else if request.method() == Method::POST {
        service.negotiate(&request, guest)
    } else {
        Err(Refusal::Method)
    };
    answer.map_err(|refusal| problem(refusal, negotiates))
}

fn guest(request: &Request) -> Result<Guest<Identity>, Problem> {
    let identity = identify(request)?;
    let context = request.data::<Context>();
    let context = context.ok_or_else(|| Problem::new(Kind::Internal, ""))?;
    let now = context.engine.clock.now();
    let expires = identity.expires_at.map(|at| {
        let left = at.millis().saturating_sub(now.millis());
        Instant::now() + Duration::from_millis(left)
    });
    Ok(Guest {
        owner: identity.subject.clone(),
        user: identity,
        expires,
    })
}

fn problem(refusal: Refusal, negotiates: bool) -> Problem {
    let kind = match refusal {
        Refusal::Query
        | Refusal::NoId
        | Refusal::NoWebSocket
        | Refusal::OtherTransport
        | Refusal::OnlyPolling => Kind::BadRequest,
        Refusal::Unknown => Kind::UnknownConnection,
        Refusal::NotPosted | Refusal::Method => Kind::MethodNotAllowed,
        Refusal::InUse => Kind::ConnectionInUse,
        Refusal::TooLarge { .. } => Kind::PayloadTooLarge,
        Refusal::TooMany { .. } => Kind::TooManyConnections,
        Refusal::Full | Refusal::Closing => Kind::Unavailable,
    };
    let problem = Problem::new(kind, refusal.to_string());
    match refusal {
        Refusal::NotPosted => problem.with_allow("GET"),
        Refusal::Method if negotiates => problem.with_allow("POST"),
        Refusal::Method => problem.with_allow("GET, POST, DELETE"),
        _ => problem,
    }
}

impl<E> WithHubs<E> {
    /// The hubs answer for their paths, the API for all others.
    pub fn new(api: E, hubs: Hubs) -> Self {
        Self { api, hubs }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for WithHubs<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let pattern = PathPattern(request.uri().path().into());
        match self.hubs.call(request).await {
            Err(request) => self.api.call(request).await,
            Ok(Ok(mut response)) => {
                response.set_data(pattern);
                Ok(response)
            }
            Ok(Err(problem)) => {
                let mut error = poem::Error::from(problem);
                error.set_data(pattern);
                Err(error)
            }
        }
    }
}
