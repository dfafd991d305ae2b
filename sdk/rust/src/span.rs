//! Durations in the notation that people write.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// Units in milliseconds, largest first, which is the order in which they are printed.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// A duration in whole milliseconds.
///
/// In JSON it is a string of numbers with units: `"30s"`, `"500ms"`, `"1m30s"`. The units are
/// `d`, `h`, `m`, `s` and `ms`. A number without a unit is rejected, because it does not show
/// whether it means seconds or milliseconds.
///
/// ```
/// use hotswap_sdk::Span;
///
/// assert_eq!("1m30s".parse(), Ok(Span::secs(90)));
/// assert_eq!(Span::mins(90).to_string(), "1h30m");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u64);

impl Span {
    /// A span of zero.
    pub const ZERO: Self = Self(0);

    /// A span of milliseconds.
    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        Self(millis)
    }

    /// A span of seconds.
    #[must_use]
    pub const fn secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// A span of minutes.
    #[must_use]
    pub const fn mins(mins: u64) -> Self {
        Self(mins.saturating_mul(60_000))
    }

    /// A span of hours.
    #[must_use]
    pub const fn hours(hours: u64) -> Self {
        Self(hours.saturating_mul(3_600_000))
    }

    /// The span in milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whether the span is zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_millis(span.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (name, millis) in UNITS {
            if rest >= millis {
                write!(f, "{}{name}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

impl FromStr for Span {
    type Err = String;

    /// Parses `1m30s`.
    ///
    /// # Errors
    /// One sentence, if a number is missing, a unit is missing or unknown, or the span exceeds
    /// 64 bits of milliseconds.
    fn from_str(text: &str) -> Result<Self, String> {
        let invalid =
            || format!("{text:?} is not a span of time like \"30s\", \"500ms\" or \"1m30s\"");
        let mut rest = text;
        let mut total = 0_u64;
        while !rest.is_empty() {
            let unit = rest
                .find(|c: char| !c.is_ascii_digit())
                .ok_or_else(invalid)?;
            let (number, tail) = rest.split_at(unit);
            let end = tail
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(end);
            let (_, millis) = UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .ok_or_else(invalid)?;
            let number: u64 = number.parse().map_err(|_| invalid())?;
            total = number
                .checked_mul(*millis)
                .and_then(|part| total.checked_add(part))
                .ok_or_else(|| format!("{text:?} is too long"))?;
            rest = tail;
        }
        if text.is_empty() {
            Err(invalid())
        } else {
            Ok(Self(total))
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpanVisitor;

        impl Visitor<'_> for SpanVisitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a span of time like \"30s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(SpanVisitor)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([0-9]{1,10}(d|h|ms|m|s))+$",
            "maxLength": 40,
            "examples": ["30s", "500ms", "1m30s"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Span;

    #[test]
    fn text_is_parsed_and_printed() {
        for (text, millis) in [
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("15m", 900_000),
            ("1d2h3m4s5ms", 93_784_005),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span, Span::millis(millis));
            assert_eq!(span.to_string(), text);
        }
        assert_eq!("90s".parse::<Span>().unwrap().to_string(), "1m30s");
        assert_eq!(Span::hours(24).to_string(), "1d");
    }

    #[test]
    fn invalid_text_is_rejected() {
        let long = format!("{}d", u64::MAX);
        for text in [
            "", "30", "s", "30 s", "-1s", "1.5s", "30sec", "1m30", "é", "3é", &long,
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Span>("30").is_err());
    }
}
