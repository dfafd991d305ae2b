use std::fmt;

use hotswap_core::{Cause, CauseKind};
use wasmtime::Trap;

use crate::limits::{ARGUMENTS, QUOTED};

/// What a host's function returns to end the run: a cause, carried through the guest.
#[derive(Debug, Clone)]
pub(crate) struct Ended(pub Cause);

impl Ended {
    pub(crate) fn new(kind: CauseKind, message: impl Into<String>) -> Self {
        Self(Cause::new(kind, message))
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Ended {}

/// What a person is told of a guest that ended with `error`, having logged `last` as an
/// error just before: so a panic's text arrives.
pub(crate) fn cause(error: &wasmtime::Error, last: Option<&str>) -> Cause {
    if let Some(Ended(cause)) = error.downcast_ref() {
        return cause.clone();
    }
    // The error's type is private to wasmtime, and a test holds its text.
    if error
        .root_cause()
        .to_string()
        .contains("fuel allocated for hostcalls")
    {
        let most = ARGUMENTS >> 20;
        let message = format!("the strategy passes more than {most} MiB in one call");
        return Cause::new(CauseKind::Limit, message);
    }
    let message = match (last, error.downcast_ref::<Trap>()) {
        // The SDK says "the strategy panicked at …", for the log: not twice in a sentence.
        (Some(text), _) => {
            let text = text.strip_prefix("the strategy ").unwrap_or(text);
            format!("the strategy crashed: {}", cut(text))
        }
        (None, Some(trap)) => format!("the strategy crashed: {}", words(*trap)),
        (None, None) => {
            let reason = error.root_cause().to_string();
            format!(
                "the strategy broke the rules of its interface: {}",
                cut(&reason)
            )
        }
    };
    Cause::new(CauseKind::Trap, message)
}

/// As much of a text as a reason repeats, ending between two characters.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(QUOTED)]
}

fn words(trap: Trap) -> String {
    let words = match trap {
        Trap::StackOverflow => "its stack overflowed: it calls itself too deeply",
        // The stack of its own variables lies at the beginning of its memory.
        Trap::MemoryOutOfBounds => {
            "it reached outside its memory, as it does when its stack overflows"
        }
        Trap::UnreachableCodeReached => {
            "it came to code that it declares unreachable, as it does when it panics"
        }
        Trap::IntegerDivisionByZero => "it divided by zero",
        Trap::IntegerOverflow => "an integer overflowed",
        Trap::BadConversionToInteger => "it made an integer of a number that is none",
        Trap::TableOutOfBounds | Trap::IndirectCallToNull | Trap::BadSignature => {
            "it called a function by a wrong pointer"
        }
        other => {
            let text = other.to_string();
            return text.trim_start_matches("wasm trap: ").to_owned();
        }
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panics_text_is_the_reason_and_said_once() {
        let error = wasmtime::Error::from(Trap::UnreachableCodeReached);
        let told = cause(
            &error,
            Some("the strategy panicked at src/lib.rs:3: no nodes"),
        );
        assert_eq!(
            told.message,
            "the strategy crashed: panicked at src/lib.rs:3: no nodes"
        );
        assert_eq!(told.kind, CauseKind::Trap);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = "é".repeat(QUOTED);
        assert_eq!(cut(&text).len(), QUOTED);
        assert_eq!(cut(&format!("x{text}")).len(), QUOTED - 1);
    }

    #[test]
    fn every_trap_has_words() {
        for trap in (0..u8::MAX).map_while(Trap::from_u8) {
            let words = words(trap);
            assert!(!words.is_empty() && !words.contains("wasm trap"), "{words}");
        }
    }
}
