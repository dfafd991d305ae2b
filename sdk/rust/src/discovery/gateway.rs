//! Values as JSON gateways of gRPC servers write them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A 64-bit integer: a string, because JavaScript has none. Read from a number, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Int64(pub i64);

/// Bytes, in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

impl Serialize for Int64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Int64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntVisitor;

        impl Visitor<'_> for IntVisitor {
            type Value = Int64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a 64-bit integer")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Int64, E> {
                Ok(Int64(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Int64, E> {
                i64::try_from(value).map(Int64).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Int64, E> {
                value.parse().map(Int64).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(IntVisitor)
    }
}

impl Base64 {
    /// The bytes of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }

    /// The first bytes after all that begin with a prefix, for a range of keys; no bytes, if all
    /// others begin with it, too.
    #[must_use]
    pub fn end_of(prefix: &str) -> Self {
        let mut end = prefix.as_bytes().to_vec();
        while let Some(last) = end.pop() {
            if let Some(next) = last.checked_add(1) {
                end.push(next);
                break;
            }
        }
        Self(end)
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_str, json, to_value};

    use super::{Base64, Int64};

    #[test]
    fn integers_are_written_as_strings_and_read_from_both() {
        assert_eq!(to_value(Int64(-7)).unwrap(), json!("-7"));
        for text in ["\"7\"", "7"] {
            assert_eq!(from_str::<Int64>(text).unwrap(), Int64(7));
        }
        for wrong in ["\"seven\"", "9223372036854775808", "1.5", "null", "\"\""] {
            assert!(from_str::<Int64>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bytes_are_base64_and_a_range_ends_after_its_prefix() {
        assert_eq!(to_value(Base64::of("a/")).unwrap(), json!("YS8="));
        assert_eq!(from_str::<Base64>("\"YS8=\"").unwrap(), Base64::of("a/"));
        assert!(from_str::<Base64>("\"YS8\"").is_err());
        assert_eq!(Base64::end_of("a/"), Base64::of("a0"));
        assert_eq!(Base64::end_of(""), Base64::of(""));
    }
}
