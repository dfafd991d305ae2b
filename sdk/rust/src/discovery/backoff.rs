use super::Context;
use crate::Span;

/// Waits longer after each failure of a registry, so that nobody makes it worse.
///
/// The pauses double, from `min` to `max`. Each is shortened by up to half, by the time at which it
/// begins: engines that lost the registry together do not come back together.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Span,
    max: Span,
    next: Span,
}

impl Backoff {
    /// A back-off whose pauses are this long.
    #[must_use]
    pub const fn new(min: Span, max: Span) -> Self {
        Self {
            min,
            max,
            next: min,
        }
    }

    /// Waits, at most for `left`.
    pub fn wait(&mut self, context: &Context, left: Span) {
        let full = self.next.as_millis();
        self.next = Span::millis(full.saturating_mul(2)).min(self.max);
        // Spreads times that differ by a millisecond over the whole half (Knuth's multiplier).
        let spread = context.now().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let off = (full / 2).saturating_mul(spread) >> 32;
        context.sleep(Span::millis(full - off).min(left));
    }

    /// The registry has answered: the next pause is the shortest again.
    pub fn reset(&mut self) {
        self.next = self.min;
    }
}
