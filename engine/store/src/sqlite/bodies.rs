use hotswap_core::EventBody;

use crate::Error;

/// Events as they are stored, one after the other. Made by the caller's thread, so that
/// the one that writes does not have to.
#[derive(Debug)]
pub(super) struct Bodies {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Bodies {
    pub(super) fn of(bodies: &[EventBody]) -> Result<Self, Error> {
        let mut bytes = Vec::with_capacity(256 * bodies.len());
        let mut ends = Vec::with_capacity(bodies.len());
        for body in bodies {
            serde_json::to_writer(&mut bytes, body).map_err(|source| Error::Encode {
                what: "an event",
                source,
            })?;
            ends.push(bytes.len());
        }
        Ok(Self { bytes, ends })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        let ends = self.ends.iter().copied();
        begins.zip(ends).map(|(from, to)| &self.bytes[from..to])
    }

    /// Of all of them.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}
