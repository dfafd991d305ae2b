use serde::de::DeserializeOwned;

use super::{Context, Error, Line, Response, Waited};
use crate::Span;

/// Reads an answer that brings a JSON document a line whenever something happens, until `look` knows
/// what came of the wait, the answer ends, or `patience` is over. For
/// [`ListAndWatch::wait`](super::ListAndWatch::wait).
///
/// # Errors
/// Those of `look` and of [`Lines::next`](super::Lines::next), and [`Error::Protocol`] if a line is
/// no such document.
pub fn follow<T: DeserializeOwned>(
    context: &Context,
    answer: Response,
    patience: Span,
    mut look: impl FnMut(T) -> Result<Option<Waited>, Error>,
) -> Result<Waited, Error> {
    let until = context.now().saturating_add(patience.as_millis());
    let mut lines = answer.lines();
    loop {
        let left = Span::millis(until.saturating_sub(context.now()));
        let line = match lines.next(left)? {
            Line::Text(line) => line,
            Line::TimedOut => return Ok(Waited::TimedOut),
            Line::End => return Ok(Waited::Closed(None)),
        };
        let document = serde_json::from_str(&line).map_err(|error| {
            Error::Protocol(format!("a line of the registry makes no sense: {error}"))
        })?;
        if let Some(waited) = look(document)? {
            return Ok(waited);
        }
    }
}
