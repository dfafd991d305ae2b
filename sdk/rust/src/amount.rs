//! A number of nodes: a count or a percentage.

use std::borrow::Cow;
use std::fmt;
use std::slice::Chunks;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// A number of nodes: a count, or a percentage of a list of nodes.
///
/// In JSON a count is a number, `2`, and a percentage is a string, `"25%"`. An amount is
/// never zero, so a strategy that updates an amount of nodes always makes progress.
///
/// ```
/// use hotswap_sdk::Amount;
///
/// let nodes = ["a", "b", "c", "d", "e"];
/// let (first, rest) = Amount::percent(25).split(&nodes); // rounded up
/// assert_eq!((first, rest), (&["a", "b"][..], &["c", "d", "e"][..]));
///
/// let batches: Vec<_> = Amount::count(2).batches(&nodes).collect();
/// assert_eq!(batches, [&["a", "b"][..], &["c", "d"], &["e"]]);
///
/// assert_eq!("25%".parse(), Ok(Amount::percent(25)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Count(u32),
    Percent(u8),
}

impl Amount {
    /// A count of nodes. 0 becomes 1.
    #[must_use]
    pub const fn count(nodes: u32) -> Self {
        Self(Kind::Count(if nodes == 0 { 1 } else { nodes }))
    }

    /// A percentage of the nodes. 0 becomes 1, and more than 100 becomes 100.
    #[must_use]
    pub const fn percent(percent: u8) -> Self {
        Self(Kind::Percent(match percent {
            0 => 1,
            1..=100 => percent,
            _ => 100,
        }))
    }

    /// How many nodes this is out of `total`: rounded up, at least 1, at most `total`. It is 0
    /// only if `total` is 0.
    #[must_use]
    pub fn of(self, total: usize) -> usize {
        let wanted = match self.0 {
            Kind::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Kind::Percent(percent) => total.saturating_mul(usize::from(percent)).div_ceil(100),
        };
        wanted.min(total)
    }

    /// Splits `nodes` into the first nodes, as many as this amount, and the rest.
    #[must_use]
    pub fn split<T>(self, nodes: &[T]) -> (&[T], &[T]) {
        nodes.split_at(self.of(nodes.len()))
    }

    /// Splits `nodes` into batches of this amount. The last batch may be smaller.
    pub fn batches<T>(self, nodes: &[T]) -> Chunks<'_, T> {
        nodes.chunks(self.of(nodes.len()).max(1))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Count(count) => write!(f, "{count}"),
            Kind::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for Amount {
    type Err = String;

    /// Parses `2` or `25%`.
    ///
    /// # Errors
    /// One sentence, if the text is zero, more than 100 % or not an amount.
    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("{text:?} is neither a count like 2 nor a percentage like 25%");
        let (digits, percent) = match text.strip_suffix('%') {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        let number: u32 = digits.parse().map_err(|_| invalid())?;
        match (number, percent) {
            (0, _) => Err(format!("{text:?} is zero: use at least 1")),
            (1..=100, true) => Ok(Self(Kind::Percent(number as u8))),
            (_, true) => Err(format!("{text:?} is more than 100%")),
            (_, false) => Ok(Self(Kind::Count(number))),
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Kind::Count(count) => serializer.serialize_u32(count),
            Kind::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AmountVisitor;

        impl Visitor<'_> for AmountVisitor {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a count like 2 or a percentage like \"25%\"")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Amount, E> {
                match u32::try_from(count) {
                    Ok(count) if count > 0 => Ok(Amount(Kind::Count(count))),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(count), &self)),
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(AmountVisitor)
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 1, "maximum": u32::MAX },
                { "type": "string", "pattern": "^([1-9][0-9]{0,8}|([1-9][0-9]?|100)%)$" },
            ],
            "examples": [2, "25%"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Amount;

    #[test]
    fn percentage_is_rounded_up_and_never_zero() {
        assert_eq!(Amount::percent(10).of(4), 1);
        assert_eq!(Amount::percent(30).of(4), 2);
        assert_eq!(Amount::percent(50).of(5), 3);
        assert_eq!(Amount::percent(100).of(7), 7);
        assert_eq!(Amount::percent(1).of(1000), 10);
        assert_eq!(Amount::percent(25).of(0), 0);
    }

    #[test]
    fn count_is_limited_to_the_total() {
        assert_eq!(Amount::count(2).of(6), 2);
        assert_eq!(Amount::count(9).of(6), 6);
        assert_eq!(Amount::count(0).of(6), 1);
    }

    #[test]
    fn lists_are_split_and_batched() {
        assert_eq!(
            Amount::percent(25).split(&[1, 2, 3]),
            (&[1][..], &[2, 3][..])
        );
        let batches: Vec<_> = Amount::count(2).batches(&[1, 2, 3]).collect();
        assert_eq!(batches, [&[1, 2][..], &[3]]);
        assert_eq!(Amount::count(2).split::<u8>(&[]), (&[][..], &[][..]));
        assert_eq!(Amount::count(2).batches::<u8>(&[]).len(), 0);
    }

    #[test]
    fn json_is_a_number_or_a_percentage() {
        for (json, amount) in [
            ("2", Amount::count(2)),
            ("\"2\"", Amount::count(2)),
            ("\"25%\"", Amount::percent(25)),
            ("\"100%\"", Amount::percent(100)),
        ] {
            assert_eq!(serde_json::from_str::<Amount>(json).unwrap(), amount);
        }
        assert_eq!(serde_json::to_string(&Amount::count(2)).unwrap(), "2");
        let percent = serde_json::to_string(&Amount::percent(25)).unwrap();
        assert_eq!(percent, "\"25%\"");
    }

    #[test]
    fn zero_too_much_and_nonsense_are_rejected() {
        for json in [
            "0",
            "-1",
            "1.5",
            "null",
            "\"\"",
            "\"%\"",
            "\"0%\"",
            "\"101%\"",
            "\"+5%\"",
            "\"a\"",
            "4294967296",
        ] {
            assert!(serde_json::from_str::<Amount>(json).is_err(), "{json}");
        }
        let error = "0%".parse::<Amount>().unwrap_err();
        assert_eq!(error, "\"0%\" is zero: use at least 1");
    }
}
