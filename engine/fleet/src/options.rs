use std::ops::RangeInclusive;
use std::time::Duration;

/// Time-outs, retries and limits of an [`HttpFleet`](crate::HttpFleet).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// For connecting. Nodes are near: one that takes longer than a second is gone.
    pub connect_timeout: Duration,
    /// For the answer to one request. A node answers an order that takes longer with how far
    /// it is.
    pub request_timeout: Duration,
    /// How long a request is retried while the node does not answer, cannot be reached or is
    /// not the right one. Long enough for a node to restart, and longer than
    /// `request_timeout`, so that a request without an answer is sent again.
    pub patience: Duration,
    /// How long a node may fetch an artifact while no byte of it arrives.
    pub stall_timeout: Duration,
    /// How long a node may take to verify, compile and start an artifact once it is there.
    pub compile_timeout: Duration,
    /// The age up to which a reading of counters is reused.
    pub reading_max_age: Duration,
    /// How many nodes are asked concurrently for their active version. 0 counts as 1.
    pub max_concurrent_requests: usize,
}

/// An option outside its range. The text names it and the range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OptionsError(String);

/// Shorter spans would give up on healthy nodes, longer ones on nothing.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);
const SPANS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(5),
            patience: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(60),
            compile_timeout: Duration::from_secs(300),
            reading_max_age: Duration::from_secs(1),
            max_concurrent_requests: 64,
        }
    }
}

impl Options {
    /// Checks that the spans are in their ranges.
    ///
    /// # Errors
    /// If one is not. The text names it as the configuration spells it.
    pub fn check(&self) -> Result<(), OptionsError> {
        for (name, span, range) in [
            ("connectTimeout", self.connect_timeout, &TIMEOUTS),
            ("requestTimeout", self.request_timeout, &TIMEOUTS),
            ("patience", self.patience, &SPANS),
            ("stallTimeout", self.stall_timeout, &SPANS),
            ("compileTimeout", self.compile_timeout, &SPANS),
        ] {
            if !range.contains(&span) {
                let (min, max) = (range.start(), range.end());
                return Err(OptionsError(format!(
                    "{name} is {span:?}; choose a span from {min:?} to {max:?}"
                )));
            }
        }
        if self.patience <= self.request_timeout {
            let (patience, timeout) = (self.patience, self.request_timeout);
            return Err(OptionsError(format!(
                "patience is {patience:?}; choose more than requestTimeout, {timeout:?}, so that \
                 a request without an answer is sent again"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_outside_their_range_are_rejected_by_name() {
        assert_eq!(Options::default().check(), Ok(()));
        let zero = Duration::ZERO;
        let week = Duration::from_secs(7 * 24 * 3600);
        type Set = fn(&mut Options, Duration);
        let set: [(&str, Set); 5] = [
            ("connectTimeout", |options, span| {
                options.connect_timeout = span
            }),
            ("requestTimeout", |options, span| {
                options.request_timeout = span
            }),
            ("patience", |options, span| options.patience = span),
            ("stallTimeout", |options, span| options.stall_timeout = span),
            ("compileTimeout", |options, span| {
                options.compile_timeout = span
            }),
        ];
        for (name, set) in set {
            for span in [zero, week] {
                let mut options = Options::default();
                set(&mut options, span);
                let error = options.check().expect_err(name).to_string();
                assert!(error.starts_with(name), "{error}");
            }
        }
        let impatient = Options {
            patience: Duration::from_secs(5),
            ..Options::default()
        };
        let error = impatient.check().expect_err("not longer").to_string();
        assert!(error.contains("more than requestTimeout"), "{error}");
    }
}
