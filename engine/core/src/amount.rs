use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ParseError;

/// How many nodes of a group: a count such as `3`, or a percentage such as `"25%"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "JsonAmount", into = "JsonAmount")]
pub enum Amount {
    /// This many nodes, or all if there are fewer.
    Count(u32),
    /// This share of the nodes, 0 to 100.
    Percent(u8),
}

/// An amount in JSON: a number, or a text with a number or a percentage.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum JsonAmount {
    Count(u32),
    Text(String),
}

impl Amount {
    /// Whether this is no node of any group.
    pub fn is_none(self) -> bool {
        matches!(self, Self::Count(0) | Self::Percent(0))
    }

    /// The number of nodes out of `total`, never more than `total`. A percentage rounds up: 10 %
    /// of three nodes is one, and only 0 % is none.
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Count(count) => total.min(count as usize),
            Self::Percent(percent) => (total * usize::from(percent)).div_ceil(100).min(total),
        }
    }
}

impl FromStr for Amount {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parsed = match text.trim().strip_suffix('%') {
            Some(percent) => percent
                .trim_end()
                .parse()
                .ok()
                .filter(|&percent| percent <= 100)
                .map(Self::Percent),
            None => text.trim().parse().ok().map(Self::Count),
        };
        parsed.ok_or_else(|| {
            let rule = "use a count such as 3, or a percentage such as 25%";
            ParseError::new("amount", text, rule)
        })
    }
}

impl TryFrom<JsonAmount> for Amount {
    type Error = ParseError;

    fn try_from(json: JsonAmount) -> Result<Self, ParseError> {
        match json {
            JsonAmount::Count(count) => Ok(Self::Count(count)),
            JsonAmount::Text(text) => text.parse(),
        }
    }
}

impl From<Amount> for JsonAmount {
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
    fn a_percentage_rounds_up_and_no_amount_exceeds_the_total() {
        assert_eq!(Amount::Percent(10).of(3), 1);
        assert_eq!(Amount::Percent(100).of(7), 7);
        assert_eq!(Amount::Percent(0).of(7), 0);
        assert_eq!(Amount::Count(9).of(7), 7);
    }

    #[test]
    fn counts_and_percentages_are_parsed_from_json() {
        let parse = |json: &str| serde_json::from_str::<Amount>(json);
        assert_eq!(parse("3").unwrap(), Amount::Count(3));
        assert_eq!(parse("\"25%\"").unwrap(), Amount::Percent(25));
        assert_eq!(parse("\"4\"").unwrap(), Amount::Count(4));
        for bad in ["\"101%\"", "-1", "\"many\"", "1.5"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            serde_json::to_string(&Amount::Percent(25)).unwrap(),
            "\"25%\""
        );
    }
}
