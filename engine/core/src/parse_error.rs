/// A text that is not a valid name, id, amount or digest. Its `Display` says what is valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a valid {kind}: {rule}")]
pub struct ParseError {
    kind: &'static str,
    text: String,
    rule: &'static str,
}

impl ParseError {
    /// Keeps only the start of `text`, which may be hostile and megabytes long.
    pub(crate) fn new(kind: &'static str, text: &str, rule: &'static str) -> Self {
        let text = text.chars().take(80).collect();
        Self { kind, text, rule }
    }
}
