use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// The place of a notification in the sequence of all notifications: the position of its
/// event in the store, and its index among the notifications of that event. Written `17` for
/// the last one of an event and `17.1` for one before. Clients only send it back unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offset {
    position: u64,
    /// From 1; `u32::MAX` for the last notification of the event.
    part: u32,
}

/// The text is not an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not an offset: send back the offset of an earlier answer or event")]
pub(crate) struct InvalidOffset;

/// Where a client wants to resume.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ResumePosition {
    /// The epoch of the store that the offset is of.
    pub epoch: String,
    /// The last offset that the client has seen.
    pub offset: String,
}

impl Offset {
    /// The offset of the last notification of the event at this position.
    pub fn after(position: u64) -> Self {
        let part = u32::MAX;
        Self { position, part }
    }

    /// The offset of notification `index`, from 0, of the `count` notifications of one event.
    pub fn of(position: u64, index: usize, count: usize) -> Self {
        if index + 1 == count {
            return Self::after(position);
        }
        let part = u32::try_from(index + 1).unwrap_or(u32::MAX - 1);
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
    type Err = InvalidOffset;

    fn from_str(text: &str) -> Result<Self, InvalidOffset> {
        let number = |text: &str| text.parse().map_err(|_| InvalidOffset);
        match text.split_once('.') {
            None => Ok(Self::after(number(text)?)),
            Some((position, part)) => Ok(Self {
                position: number(position)?,
                part: part.parse().map_err(|_| InvalidOffset)?,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_ordered_and_can_be_parsed() {
        let offsets: Vec<_> = (0..3).map(|index| Offset::of(17, index, 3)).collect();
        assert!(offsets.is_sorted());
        assert!(Offset::after(16) < offsets[0] && offsets[2] < Offset::of(18, 0, 2));
        let texts: Vec<_> = offsets.iter().map(Offset::to_string).collect();
        assert_eq!(texts, ["17.1", "17.2", "17"]);
        for offset in offsets {
            assert_eq!(offset.to_string().parse(), Ok(offset));
        }
        for text in ["", "x", "1.", ".1", "-1", "1.2.3"] {
            assert_eq!(text.parse::<Offset>(), Err(InvalidOffset), "{text}");
        }
    }
}
