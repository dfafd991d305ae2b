use std::fmt;
use std::rc::Rc;

use super::{Body, Chunk, Error, Host};
use crate::Span;

/// Bytes of the longest line. What is longer is no message of a registry.
const MAX_LINE: usize = 8 << 20;

/// The lines of a body, as they arrive.
pub struct Lines {
    host: Rc<dyn Host>,
    body: Box<dyn Body>,
    /// What has arrived, and is not returned yet.
    buffer: Vec<u8>,
    /// How much of it is known to have no end of a line.
    searched: usize,
}

/// What came of waiting for a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A line without its end.
    Text(String),
    /// The body has ended. What followed the last end of a line is dropped: it may be a part of a
    /// message.
    End,
    /// No line came in time. The next call goes on.
    TimedOut,
}

impl Lines {
    pub(super) fn new(host: Rc<dyn Host>, body: Box<dyn Body>) -> Self {
        Self {
            host,
            body,
            buffer: Vec::new(),
            searched: 0,
        }
    }

    /// Waits for the next line, at most for `patience`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the connection ended too soon, [`Error::Protocol`] if a line is
    /// too long or is not UTF-8.
    pub fn next(&mut self, patience: Span) -> Result<Line, Error> {
        let until = self.host.now().saturating_add(patience.as_millis());
        loop {
            let unsearched = &self.buffer[self.searched..];
            if let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') {
                let end = self.searched + at;
                let rest = self.buffer.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.truncate(end);
                self.searched = 0;
                return String::from_utf8(line)
                    .map(Line::Text)
                    .map_err(|_| Error::Protocol("a line is not UTF-8".to_owned()));
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_LINE {
                let text = format!("a line is longer than {} MiB", MAX_LINE >> 20);
                return Err(Error::Protocol(text));
            }
            match self.body.read(until)? {
                Chunk::Bytes(bytes) => self.buffer.extend(bytes),
                Chunk::End => return Ok(Line::End),
                Chunk::TimedOut => return Ok(Line::TimedOut),
            }
        }
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}
