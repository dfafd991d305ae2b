//! Explains to a person why a run ended.

use std::fmt;

use hotswap_core::{Cause, CauseKind};
use wasmtime::Trap;

use crate::limits::{CALL_BYTES, QUOTED_BYTES};

/// An error with which an imported function ends the run. It carries the cause through the
/// guest to the code that drives it.
#[derive(Debug, Clone)]
pub(crate) struct RunTermination(pub Cause);

impl RunTermination {
    pub(crate) fn new(kind: CauseKind, message: impl Into<String>) -> Self {
        Self(Cause::new(kind, message))
    }
}

impl fmt::Display for RunTermination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for RunTermination {}

/// Explains why a guest, `who`, ended with `error`. `last_error_log` is the line that the guest
/// logged as an error immediately before, if it did: the SDK logs the text of a panic.
pub(crate) fn explain(who: &str, error: &wasmtime::Error, last_error_log: Option<&str>) -> Cause {
    if let Some(RunTermination(cause)) = error.downcast_ref() {
        return cause.clone();
    }
    // The type of this error is private to wasmtime. A test fails if its text changes.
    if error
        .root_cause()
        .to_string()
        .contains("fuel allocated for hostcalls")
    {
        let limit = CALL_BYTES >> 20;
        let message = format!("{who} passes more than {limit} MiB in one call");
        return Cause::new(CauseKind::Limit, message);
    }
    let message = match (last_error_log, error.downcast_ref::<Trap>()) {
        // The SDK logs "the strategy panicked at …". Do not name the strategy twice.
        (Some(text), _) => {
            let own = text.strip_prefix(who).map(str::trim_start);
            format!("{who} crashed: {}", truncate(own.unwrap_or(text)))
        }
        (None, Some(trap)) => format!("{who} crashed: {}", describe_trap(*trap)),
        (None, None) => {
            let reason = error.root_cause().to_string();
            format!(
                "{who} violated the interface contract: {}",
                truncate(&reason)
            )
        }
    };
    Cause::new(CauseKind::Trap, message)
}

/// The beginning of a text, as much as a failure reason repeats. Ends on a character
/// boundary.
pub(crate) fn truncate(text: &str) -> &str {
    &text[..text.floor_char_boundary(QUOTED_BYTES)]
}

fn describe_trap(trap: Trap) -> String {
    let description = match trap {
        Trap::StackOverflow => "stack overflow: the call depth is too large",
        // The stack that holds a guest's variables lies at the beginning of its memory.
        Trap::MemoryOutOfBounds => "memory access out of bounds, possibly a stack overflow",
        Trap::UnreachableCodeReached => "it executed an `unreachable` instruction, as a panic does",
        Trap::IntegerDivisionByZero => "integer division by zero",
        Trap::IntegerOverflow => "integer overflow",
        Trap::BadConversionToInteger => "a float that is not a valid integer was converted to one",
        Trap::TableOutOfBounds | Trap::IndirectCallToNull | Trap::BadSignature => {
            "a function was called through an invalid pointer"
        }
        other => {
            let text = other.to_string();
            return text.trim_start_matches("wasm trap: ").to_owned();
        }
    };
    description.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_text_becomes_the_cause_and_names_the_strategy_once() {
        let error = wasmtime::Error::from(Trap::UnreachableCodeReached);
        let cause = explain(
            "the strategy",
            &error,
            Some("the strategy panicked at src/lib.rs:3: no nodes"),
        );
        assert_eq!(
            cause.message,
            "the strategy crashed: panicked at src/lib.rs:3: no nodes"
        );
        assert_eq!(cause.kind, CauseKind::Trap);
    }

    #[test]
    fn long_text_is_truncated_on_a_character_boundary() {
        let text = "é".repeat(QUOTED_BYTES);
        assert_eq!(truncate(&text).len(), QUOTED_BYTES);
        assert_eq!(truncate(&format!("x{text}")).len(), QUOTED_BYTES - 1);
    }

    #[test]
    fn every_trap_has_a_description() {
        for trap in (0..u8::MAX).map_while(Trap::from_u8) {
            let text = describe_trap(trap);
            assert!(!text.is_empty() && !text.contains("wasm trap"), "{text}");
        }
    }
}
