use std::sync::Arc;

use hotswap_common::Stopping;
use hotswap_fleet::discovery::{Polled, Sources};
use hotswap_runner::Engine;
use poem::Request;
use tokio_util::task::TaskTracker;

use crate::Diagnostics;
use crate::Limits;
use crate::auth::{Authenticator, Identity, Rejection};
use crate::metrics::Metrics;
use crate::problem::Problem;

/// What every operation needs. Operations take it as `poem::web::Data`.
#[derive(Clone)]
pub(crate) struct Context {
    /// The services that operations call.
    pub engine: Engine,
    /// What knows of nodes.
    pub sources: Sources,
    /// What came of asking the instances that only other registries know.
    pub polled: Polled,
    /// What admins may ask of the engine itself.
    pub diagnostics: Diagnostics,
    /// Validates tokens.
    pub authenticator: Authenticator,
    /// Whether nodes need a client certificate.
    pub wants_node_certificates: bool,
    /// What a client may use.
    pub limits: Limits,
    /// The metrics of this server.
    pub metrics: Arc<Metrics>,
    /// How far the server is in stopping. Requests that wait answer at once when it accepts no
    /// connections any more.
    pub stopping: Stopping,
    /// Tasks that outlive their request. The server waits for them, for a while, when it
    /// shuts down.
    pub tasks: TaskTracker,
}

impl Context {
    /// The context of a request.
    ///
    /// # Errors
    /// A 500 if the request did not come through the middleware, which sets the context.
    pub fn of(request: &Request) -> Result<&Self, Problem> {
        request.data::<Self>().ok_or_else(Problem::internal)
    }

    /// The identity behind a token at this moment.
    ///
    /// # Errors
    /// See [`Authenticator::authenticate`].
    pub fn authenticate(&self, token: &str) -> Result<Identity, Rejection> {
        self.authenticator
            .authenticate(token, self.engine.clock.now())
    }
}
