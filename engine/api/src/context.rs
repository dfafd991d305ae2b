use std::sync::Arc;

use hotswap_runner::Engine;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Limits;
use crate::auth::{Authority, Identity, Refusal};
use crate::metrics::Metrics;

/// What the operations work with; each takes it as `poem::web::Data`.
#[derive(Clone)]
pub(crate) struct Context {
    /// What they call.
    pub engine: Engine,
    /// Who may do what.
    pub authority: Arc<Authority>,
    /// What a client may use.
    pub limits: Limits,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Cancelled when the server begins to shut down: whatever waits on purpose answers.
    pub closing: CancellationToken,
    /// What goes on for longer than a request: waited for, for a while, before the end.
    pub tasks: TaskTracker,
}

impl Context {
    /// Who shows this token now.
    ///
    /// # Errors
    /// See [`Authority::authenticate`].
    pub fn authenticate(&self, token: &str) -> Result<Identity, Refusal> {
        self.authority.authenticate(token, self.engine.clock.now())
    }
}
