//! What etcd's JSON gateway answers. Bytes are base64, and 64-bit integers are strings.

use hotswap_sdk::discovery::{Base64, Int64};
use serde::Deserialize;
use serde_json::Value as Json;

#[derive(Deserialize)]
pub struct Header {
    #[serde(default)]
    pub revision: Int64,
}

#[derive(Deserialize)]
pub struct RangeAnswer {
    pub header: Header,
    #[serde(default)]
    pub kvs: Vec<KeyValue>,
}

#[derive(Deserialize)]
pub struct KeyValue {
    pub key: Base64,
    #[serde(default)]
    pub value: Base64,
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
    pub compact_revision: Int64,
    #[serde(default)]
    pub cancel_reason: String,
    #[serde(default)]
    pub events: Vec<Json>,
}

#[derive(Deserialize)]
pub struct LeaseAnswer {
    #[serde(rename = "ID", default)]
    pub id: Int64,
    #[serde(rename = "TTL", default)]
    pub ttl: Int64,
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
