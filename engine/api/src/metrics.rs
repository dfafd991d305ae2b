//! What is counted. Every label takes its values from a list that is known beforehand, or
//! from the names of nodes' environments.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hotswap_core::{DeploymentId, Health, Status};
use hotswap_fleet::Registry as Nodes;
use hotswap_runner::Engine;
use hotswap_store::Appended;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::sync::broadcast::error::RecvError;

use crate::live::Hubs;

/// From a millisecond to a minute, the longest that a request waits on purpose.
const BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 60.0,
];

/// The statuses of deployments that have not ended.
const OPEN: [Status; 5] = [
    Status::Pending,
    Status::AwaitingApproval,
    Status::Running,
    Status::Paused,
    Status::RollingBack,
];

/// What is counted of one server.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<Route, Histogram>,
    ended: Family<Outcome, Counter>,
    appends: Counter,
    open: Open,
}

/// The deployments that have not ended, and where they are.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<HashMap<DeploymentId, Status>>>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: String,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The nodes, as they are when somebody asks.
struct NodeGauges(Nodes);

/// Who watches, when somebody asks.
struct HubGauges(Hubs);

impl Metrics {
    /// Of an engine with these nodes, and of these hubs.
    pub fn new(nodes: Nodes, hubs: Hubs) -> Self {
        let mut registry = Registry::with_prefix("hotswap");
        let requests = Family::<Request, Counter>::default();
        registry.register(
            "http_requests",
            "Requests answered, by route, method and status",
            requests.clone(),
        );
        let seconds = Family::<Route, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        registry.register(
            "http_request_duration_seconds",
            "How long answers took, by route and method",
            seconds.clone(),
        );
        let ended = Family::<Outcome, Counter>::default();
        for status in [Status::Succeeded, Status::RolledBack, Status::Failed] {
            // Counters that begin at nothing cannot be told from counters that are lost.
            drop(ended.get_or_create(&Outcome::of(status)));
        }
        registry.register(
            "deployments_ended",
            "Deployments that ended since this process started, by outcome",
            ended.clone(),
        );
        let appends = Counter::default();
        registry.register(
            "journal_appends",
            "Appends to journals since this process started",
            appends.clone(),
        );
        let open = Open::default();
        registry.register_collector(Box::new(open.clone()));
        registry.register_collector(Box::new(NodeGauges(nodes)));
        registry.register_collector(Box::new(HubGauges(hubs)));
        Self {
            registry,
            requests,
            seconds,
            ended,
            appends,
            open,
        }
    }

    /// All of it, as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Only a writer can fail, and a String does not.
            Err(fmt::Error) => String::new(),
        }
    }

    /// A request was answered. `route` is a path of the document.
    pub fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let (method, route) = (method.to_owned(), route.to_owned());
        let by_route = Route {
            method: method.clone(),
            route: route.clone(),
        };
        let by_status = Request {
            method,
            route,
            status,
        };
        self.requests.get_or_create(&by_status).inc();
        self.seconds
            .get_or_create(&by_route)
            .observe(took.as_secs_f64());
    }

    /// Counts what becomes of deployments, without end. Dropping it stops that.
    pub async fn follow(&self, engine: &Engine) {
        let mut appended = engine.deployments.subscribe();
        self.look_again(engine).await;
        loop {
            match appended.recv().await {
                Ok(told) => self.take(&told),
                Err(RecvError::Lagged(missed)) => {
                    self.appends.inc_by(missed);
                    self.look_again(engine).await;
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn take(&self, told: &Appended) {
        self.appends.inc();
        let status = told.head.lifecycle.status();
        if status.is_final() {
            // What is looked at again may be told of afterwards: it counts once.
            if self.open.lock().remove(&told.deployment).is_some() {
                self.ended.get_or_create(&Outcome::of(status)).inc();
            }
        } else {
            self.open.lock().insert(told.deployment, status);
        }
    }

    async fn look_again(&self, engine: &Engine) {
        let open = match engine.deployments.open().await {
            Ok(open) => open,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "the running deployments could not be counted");
                return;
            }
        };
        let open: HashMap<_, _> = open
            .into_iter()
            .map(|(id, lifecycle)| (id, lifecycle.status()))
            .collect();
        let before = std::mem::replace(&mut *self.open.lock(), open.clone());
        for id in before.into_keys().filter(|id| !open.contains_key(id)) {
            if let Ok(deployment) = engine.deployments.get(id).await {
                self.ended
                    .get_or_create(&Outcome::of(deployment.status()))
                    .inc();
            }
        }
    }
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, HashMap<DeploymentId, Status>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outcome {
    fn of(status: Status) -> Self {
        let outcome = status.as_str();
        Self { outcome }
    }
}

impl Collector for Open {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut counts = OPEN.map(|status| (status, 0));
        for status in self.lock().values() {
            if let Some((_, count)) = counts.iter_mut().find(|(one, _)| one == status) {
                *count += 1;
            }
        }
        let help = "Deployments that have not ended, by status";
        let mut family =
            encoder.encode_descriptor("deployments_open", help, None, MetricType::Gauge)?;
        for (status, count) in counts {
            let labels = [("status", status.as_str())];
            let gauge = family.encode_family(&labels)?;
            ConstGauge::<i64>::new(count).encode(gauge)?;
        }
        Ok(())
    }
}

impl Collector for NodeGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut counts: BTreeMap<(String, &'static str), i64> = BTreeMap::new();
        for member in self.0.members() {
            let health = match member.health {
                Health::Passing => "passing",
                Health::Warning => "warning",
                Health::Critical => "critical",
                Health::Unknown => "unknown",
            };
            let environment = member.record.environment.to_string();
            *counts.entry((environment, health)).or_default() += 1;
        }
        let help = "Nodes, by environment and health";
        let mut family = encoder.encode_descriptor("nodes", help, None, MetricType::Gauge)?;
        for ((environment, health), count) in counts {
            let labels = [("environment", environment.as_str()), ("health", health)];
            let gauge = family.encode_family(&labels)?;
            ConstGauge::<i64>::new(count).encode(gauge)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Open").field(&self.lock().len()).finish()
    }
}

impl Collector for HubGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Connections of those who watch live, by hub";
        let mut family =
            encoder.encode_descriptor("hub_connections", help, None, MetricType::Gauge)?;
        for (hub, count) in self.0.connections() {
            let labels = [("hub", hub)];
            let gauge = family.encode_family(&labels)?;
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            ConstGauge::<i64>::new(count).encode(gauge)?;
        }
        Ok(())
    }
}

impl fmt::Debug for HubGauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HubGauges")
    }
}

impl fmt::Debug for NodeGauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeGauges")
    }
}
