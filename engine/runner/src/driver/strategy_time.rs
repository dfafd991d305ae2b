//! The clock that a strategy reads.

use hotswap_core::{Answer, Timestamp};

/// The clock that a strategy reads. It never goes back, even if the clock of the machine was set
/// back while no engine drove the deployment.
#[derive(Debug, Default)]
pub(super) struct StrategyTime {
    /// The latest time that the strategy has read.
    latest: Timestamp,
}

impl StrategyTime {
    /// Takes an answer of the journal into account.
    pub(super) fn replay(&mut self, answer: &Answer) {
        if let Answer::Time(millis) = answer {
            self.latest = self.latest.max(Timestamp::from_millis(*millis));
        }
    }

    /// The answer to `control.now`.
    pub(super) fn tell(&mut self, now: Timestamp) -> Answer {
        self.latest = self.latest.max(now);
        Answer::Time(self.latest.millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_clock_was_set_back_the_time_stands_still_until_it_has_caught_up() {
        let mut time = StrategyTime::default();
        let at = Timestamp::from_millis;
        assert_eq!(time.tell(at(5)), Answer::Time(5));
        time.replay(&Answer::Time(9));
        time.replay(&Answer::Done);
        for (now, told) in [(2, 9), (8, 9), (10, 10)] {
            assert_eq!(time.tell(at(now)), Answer::Time(told));
        }
    }
}
