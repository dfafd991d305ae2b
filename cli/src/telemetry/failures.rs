/// Logs when a collector does not take what it is sent: the first failure of a row, and its end.
/// Counters say how much is lost meanwhile.
pub(super) struct Failures {
    signal: &'static str,
    count: u64,
}

impl Failures {
    /// No failures yet to send `signal`: `spans` or `metrics`.
    pub(super) fn of(signal: &'static str) -> Self {
        Self { signal, count: 0 }
    }

    /// One more. `lost` is how much is lost by it.
    pub(super) fn add(&mut self, reason: &str, lost: u64) {
        self.count += 1;
        let signal = self.signal;
        if self.count == 1 {
            tracing::warn!(
                signal,
                reason,
                lost,
                "the collector does not take what it is sent"
            );
        } else {
            let failures = self.count;
            tracing::debug!(signal, reason, lost, failures, "the collector still fails");
        }
    }

    /// A success ends the row.
    pub(super) fn end(&mut self) {
        if self.count > 0 {
            let (signal, failures) = (self.signal, self.count);
            tracing::info!(
                signal,
                failures,
                "the collector takes what it is sent again"
            );
        }
        self.count = 0;
    }
}
