//! The progress of a running soak as lines. They are rare, since a log keeps them all.

use std::time::Duration;

use hotswap_core::{Finding, Judgement};
use tokio::time::Instant;

use crate::format;

/// The time between two accounts of a soak in which no judgement has changed.
const INTERVAL: Duration = Duration::from_secs(60);

/// What the last lines of a soak said.
#[derive(Default)]
pub(super) struct SoakLines {
    last: Option<(Instant, Vec<Judgement>)>,
}

impl SoakLines {
    /// The lines to print: a line for each finding where a judgement is another than the last that
    /// was printed, or [`INTERVAL`] has passed. `time` is that of the engine.
    pub(super) fn describe(&mut self, time: &str, findings: &[Finding]) -> Vec<String> {
        let judgements: Vec<_> = findings.iter().map(|finding| finding.judgement).collect();
        let now = Instant::now();
        let is_said = self
            .last
            .as_ref()
            .is_some_and(|(at, said)| *said == judgements && now.duration_since(*at) < INTERVAL);
        if is_said {
            return Vec::new();
        }
        self.last = Some((now, judgements));
        let line = |finding| format!("{time}  so far {}", format::finding(finding));
        let lines = findings.iter().map(line);
        lines.map(|line| format::sanitize(&line)).collect()
    }

    /// Forgets the soak: it is over.
    pub(super) fn reset(&mut self) {
        self.last = None;
    }
}
