//! Finds instances by DNS: by SRV records, or by A and AAAA records and a port.
//!
//! DNS says nothing of health, labels and environments. The settings give the instances what is
//! the same for all of them.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hotswap_sdk::Span;
use hotswap_sdk::discovery::{
    Backend, Context, Error, Health, Instance, Port, Snapshot, SrvRecord, poll,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

hotswap_sdk::register_backend!(Dns);

/// Settings of `dns`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The name to look up, such as `_hotswap-node._tcp.example.com`. The configuration of the
    /// source must allow it, in `names`.
    name: String,
    /// Which records of the name there are.
    records: Records,
    /// The name of the port that SRV records give, or that `port` sets.
    port_name: String,
    /// The port of instances that A and AAAA records give.
    port: u16,
    /// Further ports of each instance, by their names.
    ports: BTreeMap<String, u16>,
    /// What becomes the id of an instance that an SRV record gives.
    id: Id,
    /// Metadata of each instance, such as its environment.
    metadata: BTreeMap<String, String>,
    /// How often to ask, at least `1s`. The engine answers from its memory until the time to live of
    /// the records is over.
    interval: Span,
}

/// Kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Records {
    /// SRV records: each gives a target and a port.
    Srv,
    /// A and AAAA records: each gives an address.
    Addresses,
}

/// What becomes an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Id {
    /// The first label of the target: `edge-1` of `edge-1.example.com`.
    Label,
    /// The whole target.
    Name,
    /// The whole target, a hyphen and the port.
    NameAndPort,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: String::new(),
            records: Records::Srv,
            port_name: "control".to_owned(),
            port: 8081,
            ports: BTreeMap::new(),
            id: Id::Label,
            metadata: BTreeMap::new(),
            interval: Span::secs(5),
        }
    }
}

/// The backend.
pub struct Dns(Config);

impl Backend for Dns {
    type Config = Config;
    const NAME: &'static str = "dns";
    const SUMMARY: &'static str = "Finds instances by SRV, A and AAAA records.";

    fn new(config: Config) -> Result<Self, Error> {
        if config.name.is_empty() {
            let text = "name is empty: set the name to look up, such as \
                        _hotswap-node._tcp.example.com";
            return Err(Error::InvalidConfig(text.to_owned()));
        }
        Ok(Self(config))
    }

    fn watch(
        &mut self,
        context: &Context,
        _service: &str,
        cursor: Option<&str>,
        patience: Span,
    ) -> Result<Snapshot, Error> {
        let config = &self.0;
        poll(
            context,
            cursor,
            patience,
            config.interval,
            || match config.records {
                Records::Srv => {
                    let records = context.srv(&config.name)?;
                    let all = records.into_iter().map(|record| config.of_record(record));
                    distinct(all.collect())
                }
                Records::Addresses => {
                    let addresses = context.addresses(&config.name)?;
                    let all = addresses
                        .into_iter()
                        .map(|address| config.of_address(address));
                    Ok(all.collect())
                }
            },
        )
    }
}

impl Config {
    fn of_record(&self, record: SrvRecord) -> Instance {
        let target = record.target.trim_end_matches('.');
        let id = match self.id {
            Id::Label => target.split('.').next().unwrap_or(target).to_owned(),
            Id::Name => target.to_owned(),
            Id::NameAndPort => format!("{target}-{}", record.port),
        };
        // A target without addresses stays: to the engine one that is missing is gone.
        let address = first(record.addresses);
        let address = address.unwrap_or_else(|| target.to_owned());
        Instance {
            id,
            weight: record.weight.max(1),
            ..self.instance(address, record.port)
        }
    }

    fn of_address(&self, address: String) -> Instance {
        Instance {
            // As ids may be.
            id: address.replace(':', "-"),
            ..self.instance(address, self.port)
        }
    }

    fn instance(&self, address: String, port: u16) -> Instance {
        let mut ports = self.ports.clone();
        ports.insert(self.port_name.clone(), port);
        let ports = ports
            .into_iter()
            .map(|(name, number)| Port { name, number });
        Instance {
            ports: ports.collect(),
            health: Health::Unknown,
            metadata: self.metadata.clone().into_iter().collect(),
            ..hotswap_sdk::discovery::instance(address)
        }
    }
}

/// The least address, of IPv4 if there is one. Name servers rotate them: another one each time would
/// look like a node that moves.
fn first(addresses: Vec<String>) -> Option<String> {
    addresses.into_iter().min_by_key(|address| {
        let parsed = address.parse::<IpAddr>();
        (parsed.is_err(), parsed.ok(), address.clone())
    })
}

/// Instances whose ids differ.
fn distinct(instances: Vec<Instance>) -> Result<Vec<Instance>, Error> {
    let mut ids = BTreeSet::new();
    match instances.iter().find(|instance| !ids.insert(&instance.id)) {
        None => Ok(instances),
        Some(twice) => Err(Error::Protocol(format!(
            "two SRV records give the id '{}': set id to name or nameAndPort",
            twice.id
        ))),
    }
}
