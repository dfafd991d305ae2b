use std::time::Duration;

use hotswap_common::trace::{self, FinishedSpan};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::SpanExporter as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::exporter::{scope, span_data};
use super::settings::Settings;

/// Between the time-out of the exporter and that of the whole attempt, which also bounds what the
/// exporter does besides waiting.
const GRACE: Duration = Duration::from_secs(1);

/// Sends the spans of the queue in batches, until `shutdown` and then the rest. One batch at a
/// time: while a collector is slow, spans wait in the queue, and when that is full, they are
/// dropped.
pub(super) async fn export(
    mut spans: mpsc::Receiver<FinishedSpan>,
    exporter: SpanExporter,
    settings: Settings,
    shutdown: CancellationToken,
) {
    let mut failures = Failures::default();
    loop {
        let batch = next_batch(&mut spans, &settings, &shutdown).await;
        if batch.is_empty() {
            return;
        }
        let (count, scope) = (batch.len(), scope());
        let batch = batch.into_iter().map(|span| span_data(span, scope.clone()));
        let attempt = exporter.export(batch.collect());
        let failure = match timeout(settings.timeout + GRACE, attempt).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {:?}", settings.timeout)),
        };
        match failure {
            None => {
                trace::count_exported(count);
                failures.end();
            }
            Some(reason) => {
                trace::count_failed(count);
                failures.log(&reason, count);
            }
        }
    }
}

/// The next spans. Empty once `shutdown` has begun and none is left.
async fn next_batch(
    spans: &mut mpsc::Receiver<FinishedSpan>,
    settings: &Settings,
    shutdown: &CancellationToken,
) -> Vec<FinishedSpan> {
    let mut batch = Vec::new();
    let most = settings.batch_size;
    tokio::select! {
        _ = spans.recv_many(&mut batch, most) => {}
        () = shutdown.cancelled() => {}
    }
    let end = Instant::now() + settings.delay;
    while batch.len() < most && !shutdown.is_cancelled() {
        let left = most - batch.len();
        let more = shutdown.run_until_cancelled(spans.recv_many(&mut batch, left));
        if timeout_at(end, more).await.is_err() {
            break;
        }
    }
    while batch.len() < most
        && let Ok(span) = spans.try_recv()
    {
        batch.push(span);
    }
    batch
}

/// Logs the first failure of a row, the second, the fourth, and so on.
#[derive(Default)]
struct Failures(u64);

impl Failures {
    fn log(&mut self, reason: &str, spans: usize) {
        self.0 += 1;
        if self.0.is_power_of_two() {
            let failures = self.0;
            tracing::warn!(reason, spans, failures, "the collector does not take spans");
        }
    }

    fn end(&mut self) {
        if self.0 > 0 {
            tracing::info!("the collector takes spans again");
        }
        self.0 = 0;
    }
}
