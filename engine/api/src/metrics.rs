//! The engine's own metrics, for Prometheus. Label values come from fixed lists and from the
//! environments of registered nodes, so clients cannot create metrics without limit.

mod collectors;
mod open_deployments;
mod process_metrics;
mod source_gauges;

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use hotswap_common::BatchReceiver;
use hotswap_core::Status;
use hotswap_fleet::Registry as Nodes;
use hotswap_fleet::discovery::{Polled, Sources};
use hotswap_runner::{Deployments, Engine};
use hotswap_store::Appended;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;

use collectors::{DamagedGauge, DiskGauges, DurabilityGauge, HubGauges, LossGauge, NodeGauges};
use open_deployments::OpenDeployments;
use process_metrics::ProcessMetrics;
use source_gauges::SourceGauges;

/// In seconds: from a millisecond to a minute, the longest time that a request waits for
/// events.
const BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 60.0,
];

/// How long counting may rest between two looks at what was appended: each look takes a processor
/// from the drivers.
const REST: Duration = Duration::from_millis(2);

/// How often the disk usage is read: it lists all files.
const DISK_INTERVAL: Duration = Duration::from_secs(30);

/// The metrics of one server.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_durations: Family<RouteLabels, Histogram>,
    ended_deployments: Family<OutcomeLabels, Counter>,
    journal_appends: Counter,
    open_deployments: OpenDeployments,
    disk: DiskGauges,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: String,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

impl Metrics {
    /// Metrics of an engine with these nodes, sources of nodes and deployments. `hub_connections` counts the
    /// connections of each hub when somebody scrapes.
    pub fn new<F>(
        nodes: Nodes,
        (sources, polled): (Sources, Polled),
        deployments: Deployments,
        hub_connections: F,
    ) -> Self
    where
        F: Fn() -> [(&'static str, usize); 2] + Send + Sync + 'static,
    {
        let mut registry = Registry::with_prefix("hotswap");
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register(
            "http_requests",
            "Answered requests, by route, method and status",
            requests.clone(),
        );
        let request_durations =
            Family::<RouteLabels, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        registry.register(
            "http_request_duration_seconds",
            "Time from request to response, by route and method",
            request_durations.clone(),
        );
        let ended_deployments = Family::<OutcomeLabels, Counter>::default();
        for status in [
            Status::Succeeded,
            Status::Partial,
            Status::RolledBack,
            Status::Failed,
        ] {
            // Start at 0: Prometheus cannot tell a counter that is absent until its first
            // increment from one that was lost.
            drop(ended_deployments.get_or_create(&OutcomeLabels::new(status)));
        }
        registry.register(
            "deployments_ended",
            "Deployments that ended since this process started, by outcome",
            ended_deployments.clone(),
        );
        let journal_appends = Counter::default();
        registry.register(
            "journal_appends",
            "Appends to journals since this process started",
            journal_appends.clone(),
        );
        let open_deployments = OpenDeployments::default();
        registry.register_collector(Box::new(open_deployments.clone()));
        registry.register_collector(Box::new(LossGauge(deployments.clone())));
        registry.register_collector(Box::new(DurabilityGauge(deployments.clone())));
        registry.register_collector(Box::new(DamagedGauge(deployments)));
        let disk = DiskGauges::default();
        registry.register_collector(Box::new(disk.clone()));
        registry.register_collector(Box::new(NodeGauges(nodes)));
        registry.register_collector(Box::new(SourceGauges { sources, polled }));
        registry.register_collector(Box::new(HubGauges(hub_connections)));
        registry.register_collector(Box::new(ProcessMetrics));
        Self {
            registry,
            requests,
            request_durations,
            ended_deployments,
            journal_appends,
            open_deployments,
            disk,
        }
    }

    /// All metrics as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Only the writer can fail, and writing to a String does not.
            Err(fmt::Error) => String::new(),
        }
    }

    /// Records an answered request. `route` is a path of the OpenAPI document, or another
    /// name from a fixed list.
    pub fn record_request(&self, method: &str, route: &str, status: u16, duration: Duration) {
        let (method, route) = (method.to_owned(), route.to_owned());
        let route_labels = RouteLabels {
            method: method.clone(),
            route: route.clone(),
        };
        let request_labels = RequestLabels {
            method,
            route,
            status,
        };
        self.requests.get_or_create(&request_labels).inc();
        self.request_durations
            .get_or_create(&route_labels)
            .observe(duration.as_secs_f64());
    }

    /// Counts deployments until the engine ends. Drop the future to stop earlier.
    pub async fn follow(&self, engine: &Engine) {
        let mut appends = BatchReceiver::new(engine.deployments.subscribe(), REST);
        let mut epochs = engine.deployments.epochs();
        self.reload(engine).await;
        loop {
            let appended = tokio::select! {
                appended = appends.recv() => appended,
                // What was counted may be lost.
                Ok(()) = epochs.changed() => Err(RecvError::Lagged(0)),
            };
            match appended {
                Ok(appended) => self.apply(&appended),
                Err(RecvError::Lagged(missed)) => {
                    self.journal_appends.inc_by(missed);
                    self.reload(engine).await;
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Reads what takes room on the disk, again and again. Drop the future to stop.
    pub async fn follow_disk(&self, engine: &Engine) {
        let mut ticks = tokio::time::interval(DISK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match engine.retention.usage().await {
                Ok(usage) => self.disk.set(usage),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "cannot read the disk usage");
                }
            }
        }
    }

    fn apply(&self, appended: &Appended) {
        self.journal_appends.inc();
        let status = appended.head.lifecycle.status();
        if status.is_final() {
            // A reload may already have counted this end: count it only while it is open.
            if self.open_deployments.remove(appended.deployment) {
                self.count_end(status);
            }
        } else {
            self.open_deployments
                .insert(appended.deployment, status, Instant::now());
        }
    }

    /// Reads the open deployments again: at the start, and after missed notifications.
    async fn reload(&self, engine: &Engine) {
        let open = match engine.deployments.open().await {
            Ok(open) => open,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "cannot count the open deployments");
                return;
            }
        };
        let open: HashMap<_, _> = open
            .into_iter()
            .map(|(id, lifecycle)| (id, lifecycle.status()))
            .collect();
        for id in self.open_deployments.replace(open, Instant::now()) {
            if let Ok(head) = engine.deployments.head(id).await {
                self.count_end(head.lifecycle.status());
            }
        }
    }

    fn count_end(&self, status: Status) {
        self.ended_deployments
            .get_or_create(&OutcomeLabels::new(status))
            .inc();
    }
}

impl OutcomeLabels {
    fn new(status: Status) -> Self {
        let outcome = status.as_str();
        Self { outcome }
    }
}
