//! What all drivers of an engine share. Imported by the supervisor and by every part of a
//! driver; imports none of them but the timers.

use std::sync::Arc;

use hotswap_common::trace;
use hotswap_core::{Clock, DeploymentId};
use hotswap_fleet::Fleet;
use hotswap_store::Journal;
use tokio::sync::Semaphore;

use super::timer_registry::TimerRegistry;
use crate::background_tasks::BackgroundTasks;
use crate::cordoned_nodes::CordonedNodes;
use crate::damaged_deployments::DamagedDeployments;
use crate::deployments::SoakForecaster;
use crate::due_repairs::DueRepairs;
use crate::forecast_queue::{ForecastQueue, QueuedForecast};
use crate::limits::Limits;
use crate::live_soaks::LiveSoaks;
use crate::metric_providers::MetricProviders;
use crate::reconciler::{Repairs, ToldVersions};
use crate::retries::Retries;
use crate::soak_warnings::SoakWarnings;
use crate::strategies::Strategies;

pub(crate) struct DriverContext {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) strategies: Strategies,
    pub(crate) fleet: Arc<dyn Fleet>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    /// What keeps deployments from being driven.
    pub(crate) retries: Arc<Retries>,
    /// The provisional findings of the running soaks.
    pub(crate) live_soaks: Arc<LiveSoaks>,
    /// Warnings of soaks that cannot decide.
    pub(crate) soak_warnings: Arc<SoakWarnings>,
    /// The deployments whose soaks are still to be forecast.
    pub(crate) forecast_queue: Arc<ForecastQueue>,
    /// The servers that soaks may ask for metrics.
    pub(crate) metric_providers: MetricProviders,
    /// The nodes that are repaired outside of deployments, and the repairs that failed.
    pub(crate) repairs: Arc<Repairs>,
    /// The deployments whose own nodes are to be repaired.
    pub(crate) due_repairs: Arc<DueRepairs>,
    /// What nodes are told that they should run.
    pub(crate) told: Arc<ToldVersions>,
    /// The nodes that people have taken out of deployments.
    pub(crate) cordoned: Arc<CordonedNodes>,
    /// The deployments whose journals cannot be read.
    pub(crate) damaged: Arc<DamagedDeployments>,
    /// The ends of the waits of open deployments.
    pub(crate) timers: TimerRegistry,
    /// One permit for each strategy that may run at the same time.
    pub(crate) instances: Semaphore,
    /// What nobody waits for.
    pub(crate) tasks: BackgroundTasks,
}

impl DriverContext {
    /// The nodes, and which of them people have taken out of deployments.
    pub(crate) fn watched_fleet(&self) -> (&dyn Fleet, &CordonedNodes) {
        (self.fleet.as_ref(), self.cordoned.as_ref())
    }

    /// Records that an attempt to drive a deployment failed.
    pub(crate) fn record_fault(&self, deployment: DeploymentId, reason: String) {
        self.retries.record(deployment, self.clock.now(), reason);
    }

    /// Finds out, in the background, which soaks of a planned deployment cannot decide at the present
    /// traffic. Logs and records a warning for each, unless the deployment ends before.
    pub(crate) fn forecast_soaks(&self, deployment: DeploymentId) {
        // Before the deployment can end.
        self.soak_warnings.begin(deployment);
        let queued = QueuedForecast {
            deployment,
            trace: trace::current(),
        };
        let Some(mut worker) = self.forecast_queue.push(queued) else {
            return;
        };
        let forecaster = SoakForecaster {
            journal: Arc::clone(&self.journal),
            strategies: self.strategies.clone(),
            fleet: Arc::clone(&self.fleet),
            clock: Arc::clone(&self.clock),
            warnings: Arc::clone(&self.soak_warnings),
        };
        self.tasks.spawn(async move {
            while let Some(QueuedForecast { deployment, trace }) = worker.next() {
                // Its lines of the log belong to the trace of the deployment.
                trace::within(trace, forecaster.forecast(deployment)).await;
            }
        });
    }
}
