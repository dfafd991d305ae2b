//! Time, people and progress.

use std::fmt;
use std::rc::Rc;

pub use crate::bindings::hotswap::strategy::control::{Decision, Level};
use crate::{Error, Host, Result, Span, Stages};

/// The most that the engine takes of a line of the log, in bytes.
const LINE: usize = 8 * 1024;

/// Time, people and progress.
#[derive(Clone)]
pub struct Control {
    host: Rc<dyn Host>,
}

impl Control {
    /// A control that `host` answers for. Strategies are given theirs.
    #[must_use]
    pub fn new(host: Rc<dyn Host>) -> Self {
        Self { host }
    }

    /// Milliseconds since the Unix epoch: the journaled clock, the only one there is.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.host.now()
    }

    /// Wait. After a restart of the engine only the rest is waited. No time at all
    /// does not even ask.
    pub fn sleep(&self, span: Span) {
        if !span.is_zero() {
            self.host.sleep(span);
        }
    }

    /// Wait until a person approves, at most for `timeout`.
    ///
    /// # Errors
    /// [`Error::NotApproved`], if someone refuses, or nobody approves in time.
    pub fn approval(&self, prompt: impl AsRef<str>, timeout: Span) -> Result<Decision> {
        let decision = self.decision(prompt, timeout);
        if decision.approved {
            Ok(decision)
        } else {
            Err(Error::NotApproved { decision, timeout })
        }
    }

    /// Wait until a person decides, and take either answer. When `timeout` has passed
    /// it is not approved, by nobody.
    pub fn decision(&self, prompt: impl AsRef<str>, timeout: Span) -> Decision {
        self.host.approval(prompt.as_ref(), timeout)
    }

    /// Tell watchers where the deployment is: a stage's name, and 0 to 100.
    pub fn progress(&self, stage: impl AsRef<str>, percent: u8) {
        self.host.progress(stage.as_ref(), percent.min(100));
    }

    /// Report `total` stages one after the other, each with its share of 100.
    #[must_use]
    pub fn stages(&self, total: usize) -> Stages<'_> {
        Stages::new(self, total)
    }

    /// Add a line to the deployment's log. What is over 8 KiB is cut off.
    pub fn log(&self, level: Level, message: impl AsRef<str>) {
        self.host.log(level, cut(message.as_ref()));
    }

    /// Add a line for whoever watches.
    pub fn info(&self, message: impl AsRef<str>) {
        self.log(Level::Info, message);
    }

    /// Add a line about something to look at.
    pub fn warn(&self, message: impl AsRef<str>) {
        self.log(Level::Warn, message);
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

/// The text, or as much of it as fits a line, ending between two characters.
pub(crate) fn cut(text: &str) -> &str {
    if text.len() <= LINE {
        return text;
    }
    let end = (0..=LINE)
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::{LINE, cut};

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let text = format!("{}é", "x".repeat(LINE - 1));
        assert_eq!(cut(&text).len(), LINE - 1);
        assert_eq!(cut("short"), "short");
    }
}
