use std::sync::Arc;

use hotswap_runner::Engine;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::{Limits, Tokens};

/// What the operations work with; each takes it as `poem::web::Data`.
#[derive(Clone)]
pub(crate) struct Context {
    /// What they call.
    pub engine: Engine,
    /// Who may do what.
    pub tokens: Arc<Tokens>,
    /// What a client may use.
    pub limits: Limits,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Cancelled when the server begins to shut down: whatever waits on purpose answers.
    pub closing: CancellationToken,
}
