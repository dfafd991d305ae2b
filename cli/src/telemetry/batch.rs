use hotswap_common::trace::{self, FinishedSpan, SpanQueue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::failures::Failures;
use super::sender::{Rejected, Sender};
use super::settings::TraceSettings;
use super::spans;

/// Sends the spans of the queue in batches, until `shutdown` and then the rest. One batch at a
/// time: while a collector is slow, spans wait in the queue, and when that is full, they are
/// dropped. Nothing is sent again: a collector that fails may have taken it.
pub(super) async fn export(
    mut queue: SpanQueue,
    (sender, resource): (Sender<ExportTraceServiceRequest>, Resource),
    settings: TraceSettings,
    shutdown: CancellationToken,
) {
    let mut failures = Failures::of("spans");
    let limit = settings.collector.timeout;
    loop {
        let batch = next_batch(&mut queue, &settings, &shutdown).await;
        if batch.is_empty() {
            return;
        }
        let count = batch.len();
        let request = spans::request(batch, resource.clone());
        let failure = match timeout(limit, sender.send(request)).await {
            Ok(Ok(None)) => None,
            Ok(Ok(Some(Rejected { count, reason }))) => Some((count, reason)),
            Ok(Err(error)) => Some((count as u64, format!("{error:#}"))),
            Err(_) => Some((count as u64, format!("no answer within {limit:?}"))),
        };
        match failure {
            None => {
                trace::count_exported(count);
                failures.end();
            }
            Some((lost, reason)) => {
                let lost = usize::try_from(lost).map_or(count, |lost| lost.min(count));
                trace::count_exported(count - lost);
                trace::count_failed(lost);
                failures.add(&reason, lost as u64);
            }
        }
    }
}

/// The next spans. Empty once `shutdown` has begun and none is left.
async fn next_batch(
    queue: &mut SpanQueue,
    settings: &TraceSettings,
    shutdown: &CancellationToken,
) -> Vec<FinishedSpan> {
    loop {
        // By a timer, and not by the first span: nobody is woken within a request.
        tokio::select! {
            () = sleep(settings.delay) => {}
            () = queue.wait_for_batch() => {}
            () = shutdown.cancelled() => {}
        }
        let batch = queue.take_batch();
        if !batch.is_empty() || shutdown.is_cancelled() {
            return batch;
        }
    }
}
