use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};

use super::quote::shorten;

/// Why a command line was not parsed: an error in it, or a request for help.
#[derive(Debug)]
pub struct Rejection {
    error: clap::Error,
    wants_json: bool,
}

impl Rejection {
    /// Shortens what the error quotes: an argument can have a hundred thousand characters.
    pub(super) fn new(mut error: clap::Error, wants_json: bool) -> Self {
        let quotes: Vec<_> = error
            .context()
            .filter_map(|(kind, value)| match (kind, value) {
                // Usage and suggestions are our own texts, and not quotes.
                (
                    ContextKind::InvalidValue
                    | ContextKind::InvalidSubcommand
                    | ContextKind::InvalidArg,
                    ContextValue::String(text),
                ) => Some((kind, shorten(text))),
                _ => None,
            })
            .collect();
        for (kind, text) in quotes {
            error.insert(kind, ContextValue::String(text));
        }
        Self { error, wants_json }
    }

    /// The error as clap describes it.
    pub fn error(&self) -> &clap::Error {
        &self.error
    }

    /// Whether the command line has `--json`.
    pub fn wants_json(&self) -> bool {
        self.wants_json
    }
}

/// Whether `--json` is among the options, also where the rest cannot be parsed.
pub(super) fn wants_json(arguments: &[OsString]) -> bool {
    let options = arguments.iter().take_while(|argument| *argument != "--");
    options.into_iter().any(|argument| argument == "--json")
}
