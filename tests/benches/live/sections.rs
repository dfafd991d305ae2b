use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hotswap_tests::bench::median;

use crate::delivery::Delivery;
use crate::report::Row;
use crate::server_kind::ServerKind;
use crate::server_process::ServerProcess;
use crate::subscribers::Subscribers;

/// An event counts as lost after this time.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A server and its clients.
struct Fixture {
    server: ServerProcess,
    subscribers: Subscribers,
    published: u64,
}

impl Fixture {
    async fn start(kind: ServerKind, subscriber_count: usize) -> Result<Self> {
        let context = || format!("the server {}", kind.name());
        let server = ServerProcess::start(kind).await.with_context(context)?;
        let mut subscribers = Subscribers::new(&server);
        subscribers
            .add(subscriber_count)
            .await
            .with_context(context)?;
        Ok(Self {
            server,
            subscribers,
            published: 0,
        })
    }

    /// Publishes one event, and waits until all clients have it or the time-out passes.
    async fn publish(&mut self) -> Result<Delivery> {
        let due = Instant::now();
        self.server.send_command("publish").await?;
        self.wait_for_delivery(&[due]).await
    }

    /// Has the server publish `rate` events a second. The delay of an event counts from the time
    /// at which it was due, so that a server that publishes late has long delays.
    async fn sustain(&mut self, rate: u32, seconds: u32) -> Result<Delivery> {
        let start = Instant::now();
        let due: Vec<Instant> = (0..rate * seconds)
            .map(|event| start + Duration::from_secs(1) * event / rate)
            .collect();
        self.server
            .send_command(&format!("rate {rate} {seconds}"))
            .await?;
        let delivery = self.wait_for_delivery(&due).await?;
        let (answer, expected) = (self.server.read_line().await?, rate * seconds);
        ensure!(
            answer == format!("done {expected}"),
            "expected \"done {expected}\" from the server, got \"{answer}\""
        );
        Ok(delivery)
    }

    /// Waits for `time` without any event. Returns the server's memory in bytes: the median over
    /// the last `seconds`.
    async fn idle_memory(&mut self, time: Duration, seconds: u32) -> Result<f64> {
        tokio::time::sleep(time.saturating_sub(Duration::from_secs(1) * seconds)).await;
        let mut samples = Vec::new();
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            samples.push(self.server.resident_memory()? as f64);
        }
        // Fails if a client has lost its connection.
        self.subscribers.wait_for_events(0, Duration::ZERO).await?;
        Ok(median(samples))
    }

    async fn wait_for_delivery(&mut self, due: &[Instant]) -> Result<Delivery> {
        let events = due.len() as u64;
        let last = due.last().map_or(Duration::ZERO, |last| {
            last.saturating_duration_since(Instant::now())
        });
        self.subscribers
            .wait_for_events(events, last + TIMEOUT)
            .await?;
        let delivery =
            Delivery::evaluate(&self.subscribers.take_arrivals(), self.published + 1, due)?;
        self.published += events;
        Ok(delivery)
    }
}

/// The memory of a subscribed connection that gets no events.
pub async fn idle(servers: &[ServerKind]) -> Result<()> {
    const CONNECTIONS: usize = 10_000;
    // Opened before the measurement, and not counted: they make the server set up what it sets
    // up once. They stay open, so that later connections cannot reuse their memory.
    const BASE_CONNECTIONS: usize = 100;

    let (mut idle, mut after_event) = (Vec::new(), Vec::new());
    for kind in servers {
        let mut fixture = Fixture::start(*kind, BASE_CONNECTIONS).await?;
        ensure!(fixture.publish().await?.lost == 0, "an event was lost");
        let before = fixture.idle_memory(Duration::from_secs(20), 10).await?;
        let per_connection = |after: f64| (*kind, (after - before) / CONNECTIONS as f64 / 1e3);

        fixture.subscribers.add(CONNECTIONS).await?;
        // V8 needs up to 50 seconds to free the 40 MB and more that opening connections leaves.
        // No server waits longer than 25 seconds for its next ping.
        let after = fixture.idle_memory(Duration::from_secs(75), 25).await?;
        idle.push(per_connection(after));

        // The memory that a connection keeps after an event.
        ensure!(fixture.publish().await?.lost == 0, "an event was lost");
        let after = fixture.idle_memory(Duration::from_secs(15), 5).await?;
        after_event.push(per_connection(after));
        fixture.server.stop().await?;
    }
    let row = |what, at_most, figures| Row {
        what,
        unit: "KB",
        decimals: 1,
        at_most,
        figures,
    };
    row(
        "memory of each of 10,000 idle connections",
        Some(12.0),
        &idle,
    )
    .print();
    row("the same, 15 s after an event to all", None, &after_event).print();
    println!("  (the best tuned servers report about 11 KB)");
    Ok(())
}

/// The delay of an event to all subscribers.
pub async fn fanout(servers: &[ServerKind]) -> Result<()> {
    // Until just-in-time compilers have compiled the hot code, and buffers have grown.
    const WARM_UP_EVENTS: usize = 10;
    const EVENTS: usize = 20;

    for (name, subscribers, goal) in [("1,000", 1_000, Some(100.0)), ("10,000", 10_000, None)] {
        let (mut p50, mut p99, mut last) = (Vec::new(), Vec::new(), Vec::new());
        for kind in servers {
            let mut fixture = Fixture::start(*kind, subscribers).await?;
            let (mut delays, mut lasts) = (Vec::new(), Vec::new());
            for round in 0..WARM_UP_EVENTS + EVENTS {
                let delivery = fixture.publish().await?;
                let (lost, name) = (delivery.lost, kind.name());
                ensure!(lost == 0, "{name} lost {lost} of {subscribers} events");
                if round >= WARM_UP_EVENTS {
                    lasts.push(delivery.quantile(1.0));
                    delays.extend(delivery.delays);
                }
                // Lets the server finish all work on this event before the next.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            delays.sort_by(f64::total_cmp);
            let all = Delivery { delays, lost: 0 };
            p50.push((*kind, all.quantile(0.5) * 1e3));
            p99.push((*kind, all.quantile(0.99) * 1e3));
            last.push((*kind, median(lasts) * 1e3));
            fixture.server.stop().await?;
        }
        let print = |what: &str, at_most, figures: &[_]| {
            Row {
                what: &format!("an event to {name}, {what}"),
                unit: "ms",
                decimals: 1,
                at_most,
                figures,
            }
            .print();
        };
        print("p50", None, &p50);
        print("p99", goal, &p99);
        print("last client (median of 20)", None, &last);
    }
    Ok(())
}

/// A steady stream of events.
pub async fn sustained(servers: &[ServerKind]) -> Result<()> {
    const SUBSCRIBERS: usize = 200;
    const RATE: u32 = 500;
    const SECONDS: u32 = 10;

    let (mut lost, mut p50, mut p99, mut cores) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for kind in servers {
        let mut fixture = Fixture::start(*kind, SUBSCRIBERS).await?;
        let warm_up = fixture.sustain(RATE, 2).await?;
        let (before, start) = (fixture.server.cpu_seconds()?, Instant::now());
        let delivery = fixture.sustain(RATE, SECONDS).await?;
        let (cpu_seconds, seconds) = (
            fixture.server.cpu_seconds()? - before,
            start.elapsed().as_secs_f64(),
        );
        lost.push((*kind, (warm_up.lost + delivery.lost) as f64));
        p50.push((*kind, delivery.quantile(0.5) * 1e3));
        p99.push((*kind, delivery.quantile(0.99) * 1e3));
        cores.push((*kind, cpu_seconds / seconds));
        fixture.server.stop().await?;
    }
    let print = |what: &str, (unit, decimals), at_most, figures: &[_]| {
        Row {
            what: &format!("500 events/s to 200, {what}"),
            unit,
            decimals,
            at_most,
            figures,
        }
        .print();
    };
    print("lost of 1,200,000", ("", 0), Some(0.0), &lost);
    print("p50 from due time", ("ms", 1), None, &p50);
    print("p99 from due time", ("ms", 1), None, &p99);
    print("processors busy", ("", 2), None, &cores);
    let hotswap = lost.iter().find(|(kind, _)| *kind == ServerKind::HotSwap);
    ensure!(
        hotswap.is_none_or(|(_, lost)| *lost == 0.0),
        "events were lost"
    );
    Ok(())
}
