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
