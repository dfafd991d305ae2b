//! Sends what `/metrics` shows: one set of counters, read in one place, in two formats.

mod message;
mod metric;
mod open_metrics;

use std::time::SystemTime;

use anyhow::Result;
use hotswap_common::metrics::METRIC_POINTS;
use hotswap_common::tls::ClientTls;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_sdk::Resource;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::ReadMetrics;
use super::failures::Failures;
use super::sender::{Rejected, Sender};
use super::settings::MetricSettings;
use message::{Message, Origin};

/// Sends metrics to a collector.
pub(super) struct Exporter {
    settings: MetricSettings,
    origin: Origin,
    sender: Sender<ExportMetricsServiceRequest>,
}

impl Exporter {
    /// Made when the process starts: its counters count from now on.
    ///
    /// # Errors
    /// Where no client can be created.
    pub(super) fn new(
        settings: MetricSettings,
        tls: &ClientTls,
        resource: &Resource,
    ) -> Result<Self> {
        let (endpoint, interval) = (&settings.collector.endpoint, settings.interval);
        tracing::info!(endpoint, ?interval, "sending metrics");
        Ok(Self {
            origin: Origin::new(resource, now()),
            sender: Sender::new(&settings.collector, &settings.headers, tls)?,
            settings,
        })
    }

    /// Sends at the interval until `shutdown`, and then once more. While a collector is slow,
    /// nothing is read and nothing waits.
    pub(super) async fn run(self, read: ReadMetrics, shutdown: CancellationToken) {
        let interval = self.settings.interval;
        // Processes that were started together do not send together.
        let first = Instant::now() + interval.mul_f64(fastrand::f64());
        let mut ticks = interval_at(first, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failures = Failures::of("metrics");
        loop {
            let is_last = tokio::select! {
                _ = ticks.tick() => false,
                () = shutdown.cancelled() => true,
            };
            let messages = self.origin.messages(open_metrics::parse(&read()), now());
            for message in messages {
                self.send(message, &mut failures).await;
            }
            if is_last {
                return;
            }
        }
    }

    /// Sends one message, and counts what became of it. Nothing is tried again: the next one has
    /// the same series, with newer values.
    async fn send(&self, message: Message, failures: &mut Failures) {
        let limit = self.settings.timeout;
        let Message { request, points } = message;
        let failure = match timeout(limit, self.sender.send(request)).await {
            Ok(Ok(None)) => None,
            Ok(Ok(Some(Rejected { count, reason }))) => Some((count, reason)),
            Ok(Err(error)) => Some((points, format!("{error:#}"))),
            Err(_) => Some((points, format!("no answer within {limit:?}"))),
        };
        match failure {
            None => {
                count("exported", points);
                failures.end();
            }
            Some((lost, reason)) => {
                let lost = lost.min(points);
                count("exported", points - lost);
                count("failed", lost);
                failures.add(&reason, lost);
            }
        }
    }
}

fn count(outcome: &str, points: u64) {
    if let Some(counter) = METRIC_POINTS.get(outcome) {
        counter.add(points);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "points are shown beside those of other programs; nothing is decided by them"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
