use std::time::Duration;

use hotswap_common::trace::{self, FinishedSpan};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::SpanExporter as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::failures::Failures;
use super::settings::TraceSettings;
use super::spans::{scope, span_data};

/// Between the time-out of the exporter and that of the whole attempt, which also bounds what the
/// exporter does besides waiting.
const GRACE: Duration = Duration::from_secs(1);

/// Sends the spans of the queue in batches, until `shutdown` and then the rest. One batch at a
/// time: while a collector is slow, spans wait in the queue, and when that is full, they are
/// dropped.
pub(super) async fn export(
    mut spans: mpsc::Receiver<FinishedSpan>,
    exporter: SpanExporter,
    settings: TraceSettings,
    shutdown: CancellationToken,
) {
    let mut failures = Failures::of("spans");
    loop {
        let batch = next_batch(&mut spans, &settings, &shutdown).await;
        if batch.is_empty() {
            return;
        }
        let (count, scope) = (batch.len(), scope());
        let batch = batch.into_iter().map(|span| span_data(span, scope.clone()));
        let attempt = exporter.export(batch.collect());
        let failure = match timeout(settings.collector.timeout + GRACE, attempt).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {:?}", settings.collector.timeout)),
        };
        match failure {
            None => {
                trace::count_exported(count);
                failures.end();
            }
            Some(reason) => {
                trace::count_failed(count);
                failures.add(&reason, count as u64);
            }
        }
    }
}

/// The next spans. Empty once `shutdown` has begun and none is left.
async fn next_batch(
    spans: &mut mpsc::Receiver<FinishedSpan>,
    settings: &TraceSettings,
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
