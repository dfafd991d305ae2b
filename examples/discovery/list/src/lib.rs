//! Finds nodes in a JSON list behind a URL, which it asks for again and again.
//!
//! ```json
//! [{ "id": "edge-1", "address": "10.0.0.1", "ports": { "control": 5001, "data": 8080 },
//!    "zone": "eu", "labels": { "environment": "production" } }]
//! ```

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hotswap_sdk::Span;
use hotswap_sdk::discovery::{
    Backend, Context, Error, Health, Instance, Port, Secret, SecretPlace, Snapshot, poll,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

hotswap_sdk::register_backend!(List);

/// Settings of `list`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The URL of the list.
    url: String,
    /// How often to ask, at least `1s`.
    interval: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8000/nodes.json".to_owned(),
            interval: Span::secs(10),
        }
    }
}

/// An element of the list.
#[derive(Deserialize)]
struct Node {
    id: String,
    address: String,
    #[serde(default)]
    ports: BTreeMap<String, u16>,
    zone: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// The backend.
pub struct List(Config);

impl Backend for List {
    type Config = Config;
    const NAME: &'static str = "list";
    const SUMMARY: &'static str = "Finds nodes in a JSON list behind a URL.";
    const SECRETS: &'static [Secret] = &[Secret {
        name: "token",
        summary: "A token for the server of the list.",
        place: SecretPlace::Header {
            name: "authorization",
            prefix: "Bearer ",
        },
    }];

    fn new(config: Config) -> Result<Self, Error> {
        Ok(Self(config))
    }

    fn watch(
        &mut self,
        context: &Context,
        _service: &str,
        cursor: Option<&str>,
        patience: Span,
    ) -> Result<Snapshot, Error> {
        poll(context, cursor, patience, self.0.interval, || {
            let list: Vec<Node> = context.get(&self.0.url).send()?.ok()?.json()?;
            Ok(list.into_iter().map(Node::into_instance).collect())
        })
    }
}

impl Node {
    fn into_instance(self) -> Instance {
        let ports = self.ports.into_iter();
        Instance {
            id: self.id,
            ports: ports.map(|(name, number)| Port { name, number }).collect(),
            // A list says nothing of it.
            health: Health::Unknown,
            zone: self.zone,
            metadata: self.labels.into_iter().collect(),
            ..hotswap_sdk::discovery::instance(self.address)
        }
    }
}
