use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hotswap_tests::table::median;

use crate::crowd::{Crowd, Tally};
use crate::dialect::Dialect;
use crate::report::Row;
use crate::server::Server;

/// How long events may take before they count as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server and its clients.
struct Stage {
    server: Server,
    crowd: Crowd,
    published: u64,
}

impl Stage {
    async fn set(dialect: Dialect, subscribers: usize) -> Result<Self> {
        let context = || format!("the server {}", dialect.name());
        let server = Server::start(dialect).await.with_context(context)?;
        let mut crowd = Crowd::of(&server);
        crowd.grow(subscribers).await.with_context(context)?;
        Ok(Self {
            server,
            crowd,
            published: 0,
        })
    }

    /// One event to all. What came of it once all have it.
    async fn publish(&mut self) -> Result<Tally> {
        let due = Instant::now();
        self.server.order("publish").await?;
        self.tally(&[due]).await
    }

    /// That many events a second. The delay of each counts from the moment at which it
    /// should have been published: a server that publishes late is late.
    async fn sustain(&mut self, rate: u32, seconds: u32) -> Result<Tally> {
        let begun = Instant::now();
        let due: Vec<Instant> = (0..rate * seconds)
            .map(|event| begun + Duration::from_secs(1) * event / rate)
            .collect();
        self.server.order(&format!("rate {rate} {seconds}")).await?;
        let tally = self.tally(&due).await?;
        let (done, expected) = (self.server.answer().await?, rate * seconds);
        ensure!(
            done == format!("done {expected}"),
            "the server said {done}, not that it had published {expected}"
        );
        Ok(tally)
    }

    /// Leaves all alone for `time`. The server's memory in the end: the median over as many
    /// of the last seconds.
    async fn quiet(&mut self, time: Duration, seconds: u32) -> Result<f64> {
        tokio::time::sleep(time.saturating_sub(Duration::from_secs(1) * seconds)).await;
        let mut samples = Vec::new();
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            samples.push(self.server.resident()? as f64);
        }
        // Nobody has left.
        self.crowd.got(0, Duration::ZERO).await?;
        Ok(median(samples))
    }

    async fn tally(&mut self, due: &[Instant]) -> Result<Tally> {
        let events = due.len() as u64;
        let last = due.last().map_or(Duration::ZERO, |last| {
            last.saturating_duration_since(Instant::now())
        });
        self.crowd.got(events, last + PATIENCE).await?;
        let tally = Tally::of(&self.crowd.take(), self.published + 1, due)?;
        self.published += events;
        Ok(tally)
    }
}

/// What a connection costs that is subscribed and gets nothing.
pub async fn idle(servers: &[Dialect]) -> Result<()> {
    const CONNECTIONS: usize = 10_000;
    // These stay and are not counted: what a server sets up once is there before anything is
    // measured, and nothing that they leave is used again by those that are counted.
    const BEFORE: usize = 100;

    let (mut idle, mut told) = (Vec::new(), Vec::new());
    for dialect in servers {
        let mut stage = Stage::set(*dialect, BEFORE).await?;
        ensure!(stage.publish().await?.lost == 0, "an event was lost");
        let before = stage.quiet(Duration::from_secs(20), 10).await?;
        let each = |after: f64| (*dialect, (after - before) / CONNECTIONS as f64 / 1e3);

        stage.crowd.grow(CONNECTIONS).await?;
        // V8 gives back what opening the connections has left, 40 MB and more, within 50
        // seconds; and no server waits longer than 25 for its next ping.
        let after = stage.quiet(Duration::from_secs(75), 25).await?;
        idle.push(each(after));

        // Whatever a connection keeps of what it was told.
        ensure!(stage.publish().await?.lost == 0, "an event was lost");
        let after = stage.quiet(Duration::from_secs(15), 5).await?;
        told.push(each(after));
        stage.server.stop().await?;
    }
    let row = |what, at_most, figures| Row {
        what,
        unit: "KB",
        decimals: 1,
        at_most,
        figures,
    };
    row("memory, each of 10,000 idle connections", Some(12.0), &idle).print();
    row("the same, 15 s after an event to all", None, &told).print();
    println!("  (the best tuned server in the field says about 11 KB)");
    Ok(())
}

/// How soon an event is with all subscribers.
pub async fn fanout(servers: &[Dialect]) -> Result<()> {
    // Until a just-in-time compiler has seen what is hot, and buffers have their size.
    const WARMING: usize = 10;
    const EVENTS: usize = 20;

    for (name, subscribers, goal) in [("1,000", 1_000, Some(100.0)), ("10,000", 10_000, None)] {
        let (mut p50, mut p99, mut last) = (Vec::new(), Vec::new(), Vec::new());
        for dialect in servers {
            let mut stage = Stage::set(*dialect, subscribers).await?;
            let (mut delays, mut lasts) = (Vec::new(), Vec::new());
            for round in 0..WARMING + EVENTS {
                let tally = stage.publish().await?;
                let (lost, name) = (tally.lost, dialect.name());
                ensure!(lost == 0, "{name} lost {lost} of {subscribers} events");
                if round >= WARMING {
                    lasts.push(tally.quantile(1.0));
                    delays.extend(tally.delays);
                }
                // Nothing of one event is left to do when the next comes.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            delays.sort_by(f64::total_cmp);
            let all = Tally { delays, lost: 0 };
            p50.push((*dialect, all.quantile(0.5) * 1e3));
            p99.push((*dialect, all.quantile(0.99) * 1e3));
            last.push((*dialect, median(lasts) * 1e3));
            stage.server.stop().await?;
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
        print("the last (median of 20)", None, &last);
    }
    Ok(())
}

/// Many events, one after the other.
pub async fn sustained(servers: &[Dialect]) -> Result<()> {
    const SUBSCRIBERS: usize = 200;
    const RATE: u32 = 500;
    const SECONDS: u32 = 10;

    let (mut lost, mut p50, mut p99, mut cores) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for dialect in servers {
        let mut stage = Stage::set(*dialect, SUBSCRIBERS).await?;
        let warming = stage.sustain(RATE, 2).await?;
        let (before, begun) = (stage.server.cpu()?, Instant::now());
        let tally = stage.sustain(RATE, SECONDS).await?;
        let (worked, took) = (stage.server.cpu()? - before, begun.elapsed().as_secs_f64());
        lost.push((*dialect, (warming.lost + tally.lost) as f64));
        p50.push((*dialect, tally.quantile(0.5) * 1e3));
        p99.push((*dialect, tally.quantile(0.99) * 1e3));
        cores.push((*dialect, worked / took));
        stage.server.stop().await?;
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
    print("p50 after it was due", ("ms", 1), None, &p50);
    print("p99 after it was due", ("ms", 1), None, &p99);
    print("processors busy", ("", 2), None, &cores);
    let ours = lost.iter().find(|(dialect, _)| *dialect == Dialect::Ours);
    ensure!(
        ours.is_none_or(|(_, lost)| *lost == 0.0),
        "events were lost"
    );
    Ok(())
}
