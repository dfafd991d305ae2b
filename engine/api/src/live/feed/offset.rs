use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A place in what is told of deployments: the position of an event in the store, and which
/// of the messages that follow from it. Written `17` for the last of them and `17.1` for
/// one before; clients only ever give one back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offset {
    position: u64,
    part: u32,
}

/// Not an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is what an earlier answer or event said, unchanged")]
pub(crate) struct BadOffset;

/// Where a client wants to go on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Resume {
    /// In which offsets mean something.
    pub epoch: String,
    /// The last that the client has seen.
    pub offset: String,
}

impl Offset {
    /// After everything that follows from the event at this position.
    pub fn after(position: u64) -> Self {
        let part = u32::MAX;
        Self { position, part }
    }

    /// Of message number `place`, from 0, of `count` that follow from one event.
    pub fn of(position: u64, place: usize, count: usize) -> Self {
        if place + 1 == count {
            return Self::after(position);
        }
        let part = u32::try_from(place + 1).unwrap_or(u32::MAX - 1);
        Self { position, part }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            u32::MAX => write!(f, "{}", self.position),
            part => write!(f, "{}.{part}", self.position),
        }
    }
}

impl FromStr for Offset {
    type Err = BadOffset;

    fn from_str(text: &str) -> Result<Self, BadOffset> {
        let number = |text: &str| text.parse().map_err(|_| BadOffset);
        match text.split_once('.') {
            None => Ok(Self::after(number(text)?)),
            Some((position, part)) => Ok(Self {
                position: number(position)?,
                part: part.parse().map_err(|_| BadOffset)?,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_and_is_read_back() {
        let offsets: Vec<_> = (0..3).map(|place| Offset::of(17, place, 3)).collect();
        assert!(offsets.is_sorted());
        assert!(Offset::after(16) < offsets[0] && offsets[2] < Offset::of(18, 0, 2));
        let written: Vec<_> = offsets.iter().map(Offset::to_string).collect();
        assert_eq!(written, ["17.1", "17.2", "17"]);
        for offset in offsets {
            assert_eq!(offset.to_string().parse(), Ok(offset));
        }
        for bad in ["", "x", "1.", ".1", "-1", "1.2.3"] {
            assert_eq!(bad.parse::<Offset>(), Err(BadOffset), "{bad}");
        }
    }
}
