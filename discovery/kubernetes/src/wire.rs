//! What the API server answers.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
pub struct SliceList {
    pub metadata: ListMetadata,
    #[serde(default)]
    pub items: Option<Vec<EndpointSlice>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct ListMetadata {
    pub resource_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSlice {
    pub address_type: String,
    #[serde(default)]
    pub endpoints: Option<Vec<Endpoint>>,
    #[serde(default)]
    pub ports: Option<Vec<SlicePort>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    pub addresses: Vec<String>,
    #[serde(default)]
    pub conditions: Option<Conditions>,
    #[serde(default)]
    pub target_ref: Option<TargetRef>,
    #[serde(default)]
    pub hostname: Option<String>,
    #[serde(default)]
    pub zone: Option<String>,
}

impl Endpoint {
    /// The name of its pod, if it is one.
    pub fn pod(&self) -> Option<&str> {
        let target = self.target_ref.as_ref()?;
        (target.kind == "Pod").then_some(&*target.name)
    }
}

#[derive(Deserialize, Default)]
pub struct Conditions {
    pub ready: Option<bool>,
    pub serving: Option<bool>,
    pub terminating: Option<bool>,
}

#[derive(Deserialize)]
pub struct TargetRef {
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub name: String,
}

#[derive(Deserialize)]
pub struct SlicePort {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub port: Option<u16>,
}

/// A list of pods, of which only the metadata is asked for.
#[derive(Deserialize)]
pub struct PodList {
    #[serde(default)]
    pub items: Option<Vec<Pod>>,
}

#[derive(Deserialize)]
pub struct Pod {
    pub metadata: PodMetadata,
}

#[derive(Deserialize)]
pub struct PodMetadata {
    pub name: String,
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
}

/// A line of a watch.
#[derive(Deserialize)]
pub struct WatchEvent {
    #[serde(rename = "type")]
    pub kind: String,
    pub object: WatchObject,
}

/// An object of which only the version matters, or a [`Status`].
#[derive(Deserialize)]
pub struct WatchObject {
    #[serde(default)]
    pub metadata: ListMetadata,
    #[serde(default)]
    pub code: u16,
    #[serde(default)]
    pub message: String,
}

/// Why a request failed.
#[derive(Deserialize)]
pub struct Status {
    #[serde(default)]
    pub message: String,
}
