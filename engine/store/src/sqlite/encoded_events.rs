//! Events in the form in which they are stored.

use hotswap_core::{EventBody, encode_event};

use super::error::Error;

/// Event bodies as JSON, one after the other. Encoded on the caller's thread to spare the
/// writer thread the work.
#[derive(Debug)]
pub(super) struct EncodedEvents {
    bytes: Vec<u8>,
    /// Where each body ends in `bytes`.
    ends: Vec<usize>,
}

impl EncodedEvents {
    pub(super) fn encode(bodies: &[EventBody]) -> Result<Self, Error> {
        let mut bytes = Vec::with_capacity(256 * bodies.len());
        let mut ends = Vec::with_capacity(bodies.len());
        for body in bodies {
            encode_event(body, &mut bytes).map_err(|source| Error::Encode {
                what: "an event",
                source,
            })?;
            ends.push(bytes.len());
        }
        Ok(Self { bytes, ends })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let ends = self.ends.iter().copied();
        starts.zip(ends).map(|(start, end)| &self.bytes[start..end])
    }
}
