//! What the two spans of a request cost the program that makes them: with tracing off, for a trace
//! that is not recorded, and for one that is. The limits are shares of the 350 µs that a request to
//! a module takes in the bench `telemetry`.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use hotswap_common::trace::{self, Kind, Sampler, Span, TraceContext};
use hotswap_tests::bench::{check_goals, median, print_header, print_row};

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
/// In a round. The queue holds their spans.
const REQUESTS: u32 = 2_000;
const ROUNDS: usize = 51;

/// The span of the request, and one within it, as a node makes them.
async fn answer(caller: Option<TraceContext>) {
    let mut span = Span::continuing(black_box(caller), "module", Kind::Server);
    span.set("http.request.method", "GET");
    let context = span.context();
    span.run(async { drop(Span::child("inner", Kind::Internal)) })
        .await;
    black_box(context);
}

/// Nanoseconds for a request. `drain` empties the queue, outside of what is measured.
async fn measure(caller: Option<TraceContext>, mut drain: impl FnMut()) -> f64 {
    let mut samples = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..REQUESTS {
            answer(caller).await;
        }
        samples.push(started.elapsed().as_secs_f64() * 1e9 / f64::from(REQUESTS));
        drain();
    }
    median(samples)
}

fn print(what: &str, nanos: f64, limit: f64) {
    let (measured, against) = (format!("{nanos:.0} ns"), format!("{limit:.0} ns"));
    print_row(what, &measured, &against, nanos / limit, 1.0);
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let sampled: TraceContext = SAMPLED.parse()?;
    let unsampled: TraceContext = UNSAMPLED.parse()?;
    let off = measure(Some(sampled), || ()).await;
    let capacity = 2 * REQUESTS as usize;
    let spans = trace::install(Sampler::new(1.0, true), capacity, capacity);
    let mut spans = spans.context("tracing is on already")?;
    let not_recorded = measure(Some(unsampled), || ()).await;
    let mut count = 0;
    let recorded = measure(Some(sampled), || {
        while spans.take().is_some() {
            count += 1;
        }
    });
    let recorded = recorded.await;
    ensure!(count == ROUNDS * capacity, "{count} spans were recorded");

    print_header();
    print("tracing off (0.05 % of a request)", off, 175.0);
    print("not recorded (0.1 %)", not_recorded, 350.0);
    print("recorded (1 %)", recorded, 3_500.0);
    check_goals()
}
