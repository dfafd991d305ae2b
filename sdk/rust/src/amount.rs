//! How many nodes: a count or a share.

use std::borrow::Cow;
use std::fmt;
use std::slice::Chunks;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// A number of nodes: a count, or a percentage of however many there are.
///
/// In JSON a count is a number, `2`, and a percentage a string, `"25%"`. Neither can
/// be nothing, so a strategy that takes one always moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Count(u32),
    Percent(u8),
}

impl Amount {
    /// So many nodes; 0 is taken for 1.
    #[must_use]
    pub const fn count(nodes: u32) -> Self {
        Self(Kind::Count(if nodes == 0 { 1 } else { nodes }))
    }

    /// So many hundredths of the nodes; taken for 1 or 100 where it lies outside.
    #[must_use]
    pub const fn percent(percent: u8) -> Self {
        Self(Kind::Percent(match percent {
            0 => 1,
            1..=100 => percent,
            _ => 100,
        }))
    }

    /// How many that is of `total`: rounded up, at least 1, at most `total`.
    #[must_use]
    pub fn of(self, total: usize) -> usize {
        let wanted = match self.0 {
            Kind::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Kind::Percent(percent) => total.saturating_mul(usize::from(percent)).div_ceil(100),
        };
        wanted.min(total)
    }

    /// The first so many of `nodes`, and the rest.
    #[must_use]
    pub fn split<T>(self, nodes: &[T]) -> (&[T], &[T]) {
        nodes.split_at(self.of(nodes.len()))
    }

    /// `nodes` in batches of so many; the last may be smaller.
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

    /// Reads `2` or `25%`.
    ///
    /// # Errors
    /// One sentence, for nothing, for more than 100 % and for anything else.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither a count like 2 nor a percentage like 25%");
        let (digits, percent) = match text.strip_suffix('%') {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let number: u32 = digits.parse().map_err(|_| wrong())?;
        match (number, percent) {
            (0, _) => Err(format!("{text:?} is no node at all: 1 is the least")),
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
        struct Either;

        impl Visitor<'_> for Either {
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

        deserializer.deserialize_any(Either)
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
    fn a_share_is_rounded_up_and_never_nothing() {
        assert_eq!(Amount::percent(10).of(4), 1);
        assert_eq!(Amount::percent(30).of(4), 2);
        assert_eq!(Amount::percent(50).of(5), 3);
        assert_eq!(Amount::percent(100).of(7), 7);
        assert_eq!(Amount::percent(1).of(1000), 10);
        assert_eq!(Amount::percent(25).of(0), 0);
    }

    #[test]
    fn a_count_is_at_most_all() {
        assert_eq!(Amount::count(2).of(6), 2);
        assert_eq!(Amount::count(9).of(6), 6);
        assert_eq!(Amount::count(0).of(6), 1);
    }

    #[test]
    fn lists_are_split_and_cut_into_batches() {
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
    fn nothing_too_much_and_nonsense_are_refused() {
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
        assert_eq!(error, "\"0%\" is no node at all: 1 is the least");
    }
}
