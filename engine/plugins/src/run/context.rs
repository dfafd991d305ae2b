use tokio::sync::Semaphore;

use super::engine::LinkedEngine;
use super::ticker::EpochTicker;
use crate::limits::Limits;

/// What a host and all strategies that it has loaded share.
pub(crate) struct HostContext {
    pub limits: Limits,
    pub pooled: LinkedEngine,
    pub on_demand: LinkedEngine,
    /// One permit for each run that may go on at the same time.
    pub run_permits: Semaphore,
    _ticker: EpochTicker,
}

/// Which part of a context did not start.
pub(crate) enum StartError {
    Engine(wasmtime::Error),
    Ticker(std::io::Error),
}

impl HostContext {
    pub(crate) fn start(limits: Limits) -> Result<Self, StartError> {
        let pooled = LinkedEngine::pooled(&limits).map_err(StartError::Engine)?;
        let on_demand = LinkedEngine::on_demand(&limits).map_err(StartError::Engine)?;
        let engines = vec![pooled.engine.clone(), on_demand.engine.clone()];
        let ticker = EpochTicker::start(engines).map_err(StartError::Ticker)?;
        Ok(Self {
            run_permits: Semaphore::new(limits.concurrent_runs.max(1) as usize),
            limits,
            pooled,
            on_demand,
            _ticker: ticker,
        })
    }
}
