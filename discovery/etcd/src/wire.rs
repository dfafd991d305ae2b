//! What etcd's JSON gateway answers. Bytes are base64, and 64-bit integers are strings.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

#[derive(Deserialize)]
pub struct Header {
    #[serde(default)]
    pub revision: Int,
}

#[derive(Deserialize)]
pub struct RangeAnswer {
    pub header: Header,
    #[serde(default)]
    pub kvs: Vec<KeyValue>,
}

#[derive(Deserialize)]
pub struct KeyValue {
    pub key: Bytes,
    #[serde(default)]
    pub value: Bytes,
}

/// A line of a stream.
#[derive(Deserialize)]
pub struct StreamLine<T> {
    pub result: Option<T>,
    pub error: Option<Failure>,
}

#[derive(Deserialize)]
pub struct WatchAnswer {
    pub header: Header,
    #[serde(default)]
    pub created: bool,
    #[serde(default)]
    pub canceled: bool,
    #[serde(default)]
    pub compact_revision: Int,
    #[serde(default)]
    pub cancel_reason: String,
    #[serde(default)]
    pub events: Vec<Json>,
}

#[derive(Deserialize)]
pub struct LeaseAnswer {
    #[serde(rename = "ID", default)]
    pub id: Int,
    #[serde(rename = "TTL", default)]
    pub ttl: Int,
}

#[derive(Deserialize)]
pub struct TokenAnswer {
    pub token: String,
}

/// A failure: a body, or a line of a stream. 3.4 calls the code of a line `grpc_code`.
#[derive(Deserialize)]
pub struct Failure {
    #[serde(default, alias = "grpc_code")]
    pub code: i64,
    #[serde(default)]
    pub message: String,
    /// As 3.4 calls the message of a body.
    #[serde(default)]
    pub error: String,
}

impl Failure {
    /// What it says.
    pub fn text(&self) -> &str {
        match self.message.is_empty() {
            true => &self.error,
            false => &self.message,
        }
    }
}

/// A 64-bit integer, as a string or a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Int(pub i64);

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntVisitor;

        impl Visitor<'_> for IntVisitor {
            type Value = Int;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a 64-bit integer")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Int, E> {
                Ok(Int(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Int, E> {
                i64::try_from(value).map(Int).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Int, E> {
                value.parse().map(Int).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(IntVisitor)
    }
}

/// Bytes in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(de::Error::custom)
    }
}
