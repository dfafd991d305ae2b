//! Server-sent events, as browsers read them.
//!
//! Made here because the crates for it keep a line without an end for ever, or look at it
//! anew with every piece that comes.

use std::mem;

/// Of one line, and of the data of one event. Far more than an event of a journal has.
pub(super) const LONGEST: usize = 16 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// What kind of event; empty where that was not said.
    pub kind: String,
    /// What it says. Not always text: the other side may err.
    pub data: Vec<u8>,
    /// The last id that was given, with this event or before it.
    pub id: Option<String>,
}

/// A line, or the data of an event, is longer than [`LONGEST`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Makes events of bytes, wherever those were cut.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The line that has no end yet.
    line: Vec<u8>,
    /// Whether a line feed that comes next belongs to the end of the last line.
    returned: bool,
    /// Whether a line has been read.
    begun: bool,
    kind: String,
    /// Each line with a line feed; none at all where no data was given.
    data: Vec<u8>,
    id: Option<String>,
}

impl Decoder {
    /// Takes bytes in, and gives the events that they end.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Message>, TooLong> {
        let mut messages = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (piece, rest) = bytes.split_at(end);
            let returns = rest.first() == Some(&b'\r');
            bytes = rest.get(1..).unwrap_or_default();
            let second = mem::replace(&mut self.returned, returns) && !returns;
            if second && piece.is_empty() && self.line.is_empty() {
                continue;
            }
            self.extend(piece)?;
            let line = mem::take(&mut self.line);
            messages.extend(self.take(&line)?);
        }
        self.extend(bytes)?;
        Ok(messages)
    }

    fn extend(&mut self, piece: &[u8]) -> Result<(), TooLong> {
        fits(&self.line, piece)?;
        self.line.extend_from_slice(piece);
        Ok(())
    }

    /// Takes a whole line in, without its end.
    fn take(&mut self, mut line: &[u8]) -> Result<Option<Message>, TooLong> {
        if !mem::replace(&mut self.begun, true) {
            // The mark that says that this is UTF-8.
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(self.finish());
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => self.kind = String::from_utf8_lossy(value).into_owned(),
            b"data" => {
                fits(&self.data, value)?;
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"id" if !value.contains(&0) => {
                let id = String::from_utf8_lossy(value).into_owned();
                self.id = Some(id).filter(|id| !id.is_empty());
            }
            // A comment, or what a later release knows.
            _ => {}
        }
        Ok(None)
    }

    fn finish(&mut self) -> Option<Message> {
        let (kind, mut data) = (mem::take(&mut self.kind), mem::take(&mut self.data));
        data.pop()?;
        let id = self.id.clone();
        Some(Message { kind, data, id })
    }
}

fn fits(begun: &[u8], more: &[u8]) -> Result<(), TooLong> {
    if begun.len() + more.len() > LONGEST {
        Err(TooLong)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
