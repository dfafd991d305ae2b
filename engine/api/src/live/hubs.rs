//! The SignalR hubs: `/hubs/deployments` and `/hubs/metrics`.

mod deployment_stream;
mod deployments_hub;
mod metrics_hub;
mod metrics_sampler;
mod router;
mod shared_samples;
mod source_feed;

use std::sync::Arc;
use std::time::Duration;

use hotswap_fleet::discovery::Sources;
use hotswap_runner::Engine;
use hotswap_signalr::{Hub, Principal, Rejection, Service};
use poem::http::Method;
use poem::{Request, Response};
use tokio::time::Instant;

use self::deployments_hub::DeploymentsHub;
use self::metrics_hub::MetricsHub;
pub(crate) use self::router::HubRouter;
use crate::auth::Identity;
use crate::config::LiveConfig;
use crate::context::Context;
use crate::extract::identify;
use crate::problem::{Kind, Problem};

const DEPLOYMENTS: &str = "/hubs/deployments";
/// A former name of the hub.
const DEPLOYMENT: &str = "/hubs/deployment";
const METRICS: &str = "/hubs/metrics";
const NEGOTIATE: &str = "/negotiate";

/// The hubs of one server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hubs {
    deployments: Service<DeploymentsHub>,
    metrics: Service<MetricsHub>,
}

impl Hubs {
    /// The hubs of an engine. Call this within a Tokio runtime.
    pub fn new(engine: &Engine, sources: Sources, live: &LiveConfig) -> Self {
        let capacity = &live.hubs.queue_capacity;
        let deployments = DeploymentsHub::new(engine, capacity);
        let metrics = MetricsHub::new(engine.clone(), sources, live.metrics_interval);
        Self {
            deployments: Service::new(Arc::new(deployments), live.hubs),
            metrics: Service::new(Arc::new(metrics), live.hubs),
        }
    }

    /// The paths of the hubs and their methods, to label requests in metrics and logs.
    pub fn routes() -> [(String, &'static [&'static str]); 6] {
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

    /// Sends what happens to the subscribers. Runs until dropped.
    pub async fn follow(&self) {
        tokio::join!(self.deployments.hub().follow(), self.metrics.hub().follow());
    }

    /// The current number of connections of each hub.
    pub fn connections(&self) -> [(&'static str, usize); 2] {
        [
            ("deployments", self.deployments.connections()),
            ("metrics", self.metrics.connections()),
        ]
    }

    /// Asks all clients to reconnect, and waits at most `grace` until they have left.
    pub async fn shutdown(&self, grace: Duration) {
        tokio::join!(
            self.deployments.shutdown(grace),
            self.metrics.shutdown(grace)
        );
    }

    /// Answers a request on the path of a hub. Returns any other request unchanged.
    async fn call(&self, request: Request) -> Result<Result<Response, Problem>, Request> {
        let path = request.uri().path();
        let (hub, is_negotiate) = match path.strip_suffix(NEGOTIATE) {
            Some(hub) => (hub, true),
            None => (path, false),
        };
        match hub {
            DEPLOYMENTS | DEPLOYMENT => Ok(serve(&self.deployments, request, is_negotiate).await),
            METRICS => Ok(serve(&self.metrics, request, is_negotiate).await),
            _ => Err(request),
        }
    }
}

async fn serve<H: Hub<User = Identity>>(
    service: &Service<H>,
    mut request: Request,
    is_negotiate: bool,
) -> Result<Response, Problem> {
    let principal = authenticate(&request)?;
    let response = if !is_negotiate {
        let body = request.take_body();
        service.connect(&request, body, principal).await
    } else if request.method() == Method::POST {
        service.negotiate(&request, principal)
    } else {
        Err(Rejection::MethodNotAllowed)
    };
    response.map_err(|rejection| to_problem(rejection, is_negotiate))
}

fn authenticate(request: &Request) -> Result<Principal<Identity>, Problem> {
    let identity = identify(request)?;
    let context = request.data::<Context>();
    let context = context.ok_or_else(|| Problem::new(Kind::Internal, ""))?;
    let now = context.engine.clock.now();
    let expires_at = identity.expires_at.map(|at| {
        let remaining = at.millis().saturating_sub(now.millis());
        Instant::now() + Duration::from_millis(remaining)
    });
    Ok(Principal {
        user_id: identity.subject.clone(),
        user: identity,
        expires_at,
    })
}

fn to_problem(rejection: Rejection, is_negotiate: bool) -> Problem {
    let kind = match rejection {
        Rejection::InvalidQuery
        | Rejection::MissingConnectionId
        | Rejection::InvalidUpgrade
        | Rejection::TransportMismatch
        | Rejection::NotLongPolling => Kind::BadRequest,
        Rejection::UnknownConnection => Kind::UnknownConnection,
        Rejection::PostToWebSocket | Rejection::MethodNotAllowed => Kind::MethodNotAllowed,
        Rejection::ConnectionInUse => Kind::ConnectionInUse,
        Rejection::BodyTooLarge { .. } => Kind::PayloadTooLarge,
        Rejection::TooManyConnections { .. } => Kind::TooManyConnections,
        Rejection::ServerFull | Rejection::ShuttingDown => Kind::Unavailable,
    };
    let problem = Problem::new(kind, rejection.to_string());
    match rejection {
        Rejection::PostToWebSocket => problem.with_allow("GET"),
        Rejection::MethodNotAllowed if is_negotiate => problem.with_allow("POST"),
        Rejection::MethodNotAllowed => problem.with_allow("GET, POST, DELETE"),
        _ => problem,
    }
}
