//! Places in the log.

use std::fmt;
use std::str::FromStr;

/// A place in the log: the position of the last event of the append there, and a count of what is
/// there beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) position: u64,
    count: u64,
}

impl Place {
    /// The place of the append that ends at this position.
    pub(super) fn of(position: u64) -> Self {
        Self { position, count: 0 }
    }

    /// The place before. Reading on from there reads this one.
    pub(super) fn previous(self) -> Self {
        match (self.position, self.count.checked_sub(1)) {
            (position, Some(count)) => Self { position, count },
            (0, None) => self,
            (position, None) => Self {
                position: position - 1,
                count: u64::MAX,
            },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.position, self.count)
    }
}

impl FromStr for Place {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (position, count) = text.split_once('-').unwrap_or((text, "0"));
        Ok(Self {
            position: position.parse()?,
            count: count.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_ordered_and_each_has_one_before() {
        let places = ["0-0", "4-18446744073709551615", "5-0", "5-1"];
        let places = places.map(|text| text.parse::<Place>().unwrap());
        assert!(places.is_sorted());
        let before = places.map(|place| place.previous().to_string());
        assert_eq!(
            before,
            [
                "0-0",
                "4-18446744073709551614",
                "4-18446744073709551615",
                "5-0"
            ]
        );
        assert_eq!(Place::of(5), places[2]);
    }
}
