use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name;

/// How many of a number of nodes: a count, `3`, or a percentage, `"25%"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Amount {
    /// That many, however many there are.
    Count(u32),
    /// That many of each hundred; at most 100.
    Percent(u8),
}

/// The two ways in which people write an amount.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Count(u32),
    Text(String),
}

impl Amount {
    /// How many that is of `total`: a percentage rounds up, so that a tenth of three
    /// nodes is one, and only 0 is none. Never more than `total`.
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Count(count) => total.min(count as usize),
            Self::Percent(percent) => (total * usize::from(percent)).div_ceil(100).min(total),
        }
    }
}

impl FromStr for Amount {
    type Err = name::Error;

    fn from_str(text: &str) -> Result<Self, name::Error> {
        let parsed = match text.trim().strip_suffix('%') {
            Some(percent) => percent
                .trim_end()
                .parse()
                .ok()
                .filter(|&percent| percent <= 100)
                .map(Self::Percent),
            None => text.trim().parse().ok().map(Self::Count),
        };
        parsed.ok_or_else(|| name::error("amount", text, "write a count as 3, or a share as 25%"))
    }
}

impl TryFrom<Written> for Amount {
    type Error = name::Error;

    fn try_from(written: Written) -> Result<Self, name::Error> {
        match written {
            Written::Count(count) => Ok(Self::Count(count)),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<Amount> for Written {
    fn from(amount: Amount) -> Self {
        match amount {
            Amount::Count(count) => Self::Count(count),
            Amount::Percent(_) => Self::Text(amount.to_string()),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_rounds_up_and_never_exceeds_the_whole() {
        assert_eq!(Amount::Percent(10).of(3), 1);
        assert_eq!(Amount::Percent(100).of(7), 7);
        assert_eq!(Amount::Percent(0).of(7), 0);
        assert_eq!(Amount::Count(9).of(7), 7);
    }

    #[test]
    fn reads_both_ways_of_writing_it() {
        let read = |json: &str| serde_json::from_str::<Amount>(json);
        assert_eq!(read("3").unwrap(), Amount::Count(3));
        assert_eq!(read("\"25%\"").unwrap(), Amount::Percent(25));
        assert_eq!(read("\"4\"").unwrap(), Amount::Count(4));
        for bad in ["\"101%\"", "-1", "\"many\"", "1.5"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(
            serde_json::to_string(&Amount::Percent(25)).unwrap(),
            "\"25%\""
        );
    }
}
