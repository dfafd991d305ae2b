//! The time in which nodes could be heard.

use std::time::{Duration, Instant};

/// Measures the time in which this engine could have heard of its nodes. While the engine was
/// stalled, or its machine suspended, it heard of nobody: a silence then says nothing about
/// the nodes. Where several engines share a store, this one hears of the nodes of the others only
/// while the channel to them works: a time in which it does not is a stall, too.
///
/// It notices a stall by its ticks. Without ticks it counts all time.
#[derive(Debug)]
pub(super) struct ListeningTime {
    started: Instant,
    /// A tick comes every interval or more often, and heartbeats come every interval.
    interval: Duration,
    last_tick: Option<Instant>,
    /// The length of all stalls.
    stalled: Duration,
    /// When every node has had a heartbeat's time to be heard of after the last stall.
    settled_at: Duration,
}

/// A tick that is later than this many intervals after the last one ends a stall. Fewer are
/// no harm: a node counts as gone only after several.
const STALLED_AFTER: u32 = 2;

impl ListeningTime {
    pub(super) fn start(now: Instant, interval: Duration) -> Self {
        Self {
            started: now,
            interval,
            last_tick: None,
            stalled: Duration::ZERO,
            settled_at: Duration::ZERO,
        }
    }

    /// The time that the engine has listened so far. Stands still during a stall.
    pub(super) fn at(&self, now: Instant) -> Duration {
        let now = match (self.last_tick, self.stall(now)) {
            (Some(last_tick), Some(_)) => last_tick,
            _ => now,
        };
        let elapsed = now.saturating_duration_since(self.started);
        elapsed.saturating_sub(self.stalled)
    }

    /// Counts a tick. Returns the length of the stall that it ends, if there was one.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Duration> {
        let stall = self.stall(now);
        if let Some(stall) = stall {
            self.settled_at = self.at(now) + self.interval;
            self.stalled += stall;
        }
        self.last_tick = Some(now);
        stall
    }

    /// No tick follows: from now on all time counts.
    pub(super) fn stop_ticking(&mut self) {
        self.last_tick = None;
    }

    /// Whether a stall ended less than a heartbeat ago, at this time of listening.
    pub(super) fn is_settling(&self, listened: Duration) -> bool {
        listened < self.settled_at
    }

    fn stall(&self, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.last_tick?);
        (since > self.interval.saturating_mul(STALLED_AFTER)).then_some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(2);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn without_ticks_all_time_counts() {
        let start = Instant::now();
        let mut time = ListeningTime::start(start, INTERVAL);
        assert_eq!(time.at(start + seconds(100)), seconds(100));
        time.tick(start + seconds(100));
        time.stop_ticking();
        assert_eq!(time.at(start + seconds(200)), seconds(200));
    }

    #[test]
    fn a_stall_does_not_count_and_settling_takes_one_interval() {
        let start = Instant::now();
        let mut time = ListeningTime::start(start, INTERVAL);
        assert_eq!(time.tick(start), None);
        assert_eq!(time.tick(start + seconds(3)), None);
        // Before the tick that ends the stall, and after it.
        assert_eq!(time.at(start + seconds(60)), seconds(3));
        assert!(!time.is_settling(seconds(3)));
        assert_eq!(time.tick(start + seconds(60)), Some(seconds(57)));
        assert_eq!(time.at(start + seconds(60)), seconds(3));
        assert!(time.is_settling(seconds(4)));
        assert_eq!(time.at(start + seconds(62)), seconds(5));
        assert!(!time.is_settling(seconds(5)));
    }
}
