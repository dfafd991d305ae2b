//! Decodes server-sent events, as the HTML standard defines them.
//!
//! Written here because the available crates buffer a line without an end forever, or scan it
//! again with every chunk.

use std::mem;

/// The limit for one line, and for the data of one event. Far more than an event of a
/// journal has.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSentEvent {
    /// The kind of event; empty where none is given.
    pub kind: String,
    /// The data. Not always text: the server may be wrong.
    pub data: Vec<u8>,
    /// The latest id, of this event or an earlier one.
    pub id: Option<String>,
}

/// A line, or the data of an event, is longer than [`MAX_BYTES`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Turns chunks of bytes into events, however the chunks are cut.
#[derive(Debug, Default)]
pub(super) struct EventDecoder {
    /// The line whose end has not arrived.
    line: Vec<u8>,
    /// Whether the last line ended with a carriage return, so that a line feed that comes
    /// next belongs to its end.
    after_carriage_return: bool,
    /// Whether a line has been read.
    has_read_line: bool,
    /// The kind of the event in progress.
    kind: String,
    /// The data of the event in progress, each line with a line feed; empty where it has none.
    data: Vec<u8>,
    id: Option<String>,
}

impl EventDecoder {
    /// Adds a chunk. Returns the events that it completes.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<ServerSentEvent>, TooLong> {
        let mut events = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (piece, rest) = bytes.split_at(end);
            let is_carriage_return = rest.first() == Some(&b'\r');
            bytes = rest.get(1..).unwrap_or_default();
            let is_second_half = mem::replace(&mut self.after_carriage_return, is_carriage_return)
                && !is_carriage_return;
            if is_second_half && piece.is_empty() && self.line.is_empty() {
                continue;
            }
            self.extend_line(piece)?;
            let line = mem::take(&mut self.line);
            events.extend(self.read_line(&line)?);
        }
        self.extend_line(bytes)?;
        Ok(events)
    }

    fn extend_line(&mut self, piece: &[u8]) -> Result<(), TooLong> {
        check_length(&self.line, piece)?;
        self.line.extend_from_slice(piece);
        Ok(())
    }

    /// Reads a line without its end. Returns the event that an empty line completes.
    fn read_line(&mut self, mut line: &[u8]) -> Result<Option<ServerSentEvent>, TooLong> {
        if !mem::replace(&mut self.has_read_line, true) {
            // The stream may begin with a byte order mark.
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(self.finish_event());
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => self.kind = String::from_utf8_lossy(value).into_owned(),
            b"data" => {
                check_length(&self.data, value)?;
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"id" if !value.contains(&0) => {
                let id = String::from_utf8_lossy(value).into_owned();
                self.id = Some(id).filter(|id| !id.is_empty());
            }
            // A comment, or a field that the standard does not know.
            _ => {}
        }
        Ok(None)
    }

    fn finish_event(&mut self) -> Option<ServerSentEvent> {
        let (kind, mut data) = (mem::take(&mut self.kind), mem::take(&mut self.data));
        data.pop()?;
        let id = self.id.clone();
        Some(ServerSentEvent { kind, data, id })
    }
}

fn check_length(buffered: &[u8], added: &[u8]) -> Result<(), TooLong> {
    if buffered.len() + added.len() > MAX_BYTES {
        Err(TooLong)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
