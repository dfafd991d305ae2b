//! Time, people and progress.

use std::fmt;
use std::rc::Rc;

pub use crate::bindings::hotswap::strategy::control::{Decision, Level};
use crate::{Error, Host, Result, Span, Stages};

/// Bytes of one log line that the contract allows.
const LOG_LINE_BYTES: usize = 8 * 1024;

/// Waits, asks people for approval, and reports progress.
///
/// ```
/// use hotswap_sdk::testing::ScriptedFleet;
/// use hotswap_sdk::{Control, Result, Span};
///
/// fn ask_and_wait(control: &Control) -> Result {
///     control.progress("approval", 50);
///     let decision = control.approval("switch 12 nodes?", Span::hours(1))?;
///     control.info(format!("approved by {}", decision.by));
///     control.sleep(Span::mins(10)); // durable: it continues after a restart of the engine
///     Ok(())
/// }
///
/// let script = ScriptedFleet::new(12).decision(true, "ann");
/// ask_and_wait(&script.control())?;
/// assert_eq!(
///     script.transcript(),
///     ["approval within 1h: switch 12 nodes?", "sleep 10m"]
/// );
/// # Ok::<(), hotswap_sdk::Error>(())
/// ```
#[derive(Clone)]
pub struct Control {
    host: Rc<dyn Host>,
}

impl Control {
    /// A control whose calls `host` answers. [`Strategy::run`](crate::Strategy::run) gets its
    /// control as a parameter.
    #[must_use]
    pub fn new(host: Rc<dyn Host>) -> Self {
        Self { host }
    }

    /// Milliseconds since the Unix epoch. The answer is journaled, so it is the same on a
    /// replay. There is no other clock.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.host.now()
    }

    /// Waits. The wait is durable: after a restart of the engine only the rest of it is waited.
    /// A wait of zero makes no call.
    pub fn sleep(&self, span: Span) {
        if !span.is_zero() {
            self.host.sleep(span);
        }
    }

    /// Waits until a person approves, at most for `timeout`.
    ///
    /// # Errors
    /// [`Error::NotApproved`] if a person rejects, or the timeout passes first.
    pub fn approval(&self, prompt: impl AsRef<str>, timeout: Span) -> Result<Decision> {
        let decision = self.decision(prompt, timeout);
        if decision.approved {
            Ok(decision)
        } else {
            Err(Error::NotApproved { decision, timeout })
        }
    }

    /// Waits until a person approves or rejects, at most for `timeout`, and returns the
    /// decision. If the timeout passes first, the decision is not approved and
    /// [`by`](Decision::by) is empty.
    pub fn decision(&self, prompt: impl AsRef<str>, timeout: Span) -> Decision {
        self.host.approval(prompt.as_ref(), timeout)
    }

    /// Reports progress to clients that watch: the name of the stage, and 0 to 100.
    pub fn progress(&self, stage: impl AsRef<str>, percent: u8) {
        self.host.progress(stage.as_ref(), percent.min(100));
    }

    /// Reports `total` stages one after the other. Each is worth the same share of 100.
    #[must_use]
    pub fn stages(&self, total: usize) -> Stages<'_> {
        Stages::new(self, total)
    }

    /// Adds a line to the deployment's log. Text beyond 8 KiB is dropped.
    pub fn log(&self, level: Level, message: impl AsRef<str>) {
        self.host.log(level, truncate(message.as_ref()));
    }

    /// Logs a line for people who watch the deployment.
    pub fn info(&self, message: impl AsRef<str>) {
        self.log(Level::Info, message);
    }

    /// Logs a line about something that a person should look at.
    pub fn warn(&self, message: impl AsRef<str>) {
        self.log(Level::Warn, message);
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

/// The beginning of a text, as much as fits into a log line. Ends on a character boundary.
pub(crate) fn truncate(text: &str) -> &str {
    if text.len() <= LOG_LINE_BYTES {
        return text;
    }
    let end = (0..=LOG_LINE_BYTES)
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::{LOG_LINE_BYTES, truncate};

    #[test]
    fn long_line_is_truncated_on_a_character_boundary() {
        let text = format!("{}é", "x".repeat(LOG_LINE_BYTES - 1));
        assert_eq!(truncate(&text).len(), LOG_LINE_BYTES - 1);
        assert_eq!(truncate("short"), "short");
    }
}
