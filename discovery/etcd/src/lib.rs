//! Finds and registers instances in etcd, through its JSON gateway.
//!
//! The key of an instance is the prefix, the service, a slash and its id; its value is JSON. One
//! with a TTL is put with a lease, so it disappears with it.

mod api;
#[cfg(test)]
mod tests;
mod wire;

use hotswap_sdk::Span;
use hotswap_sdk::discovery::{
    Backend, Context, Document, Endpoints, Error, Health, ListAndWatch, Registration,
    Registrations, Secret, SecretPlace, Snapshot, Waited, list_and_watch,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use api::Client;

hotswap_sdk::register_backend!(Etcd);

/// Settings of `etcd`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The URLs of members. The first that answers is used, until it no longer does.
    endpoints: Vec<String>,
    /// The beginning of all keys.
    prefix: String,
    /// The user to authenticate as, with the secret `password`. Nobody, if this is empty.
    username: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:2379".to_owned()],
            prefix: "/hotswap/".to_owned(),
            username: String::new(),
        }
    }
}

/// The backend.
pub struct Etcd {
    client: Client,
    prefix: String,
    registered: Registrations<i64>,
}

impl Backend for Etcd {
    type Config = Config;
    const NAME: &'static str = "etcd";
    const SUMMARY: &'static str = "Finds and registers instances in etcd.";
    const CAN_REGISTER: bool = true;
    const SECRETS: &'static [Secret] = &[Secret {
        name: "password",
        summary: "The password of the user.",
        place: SecretPlace::Body {
            path: api::AUTHENTICATE,
        },
    }];

    fn new(config: Config) -> Result<Self, Error> {
        let endpoints = Endpoints::new("endpoints", config.endpoints)?;
        Ok(Self {
            client: Client::new(endpoints, config.username),
            prefix: config.prefix,
            registered: Registrations::default(),
        })
    }

    fn watch(
        &mut self,
        context: &Context,
        service: &str,
        cursor: Option<&str>,
        patience: Span,
    ) -> Result<Snapshot, Error> {
        list_and_watch(self, context, service, cursor, patience)
    }

    fn register(&mut self, context: &Context, registration: &Registration) -> Result<(), Error> {
        let key = self.key(&registration.service, &registration.id);
        let (client, registered) = (&mut self.client, &mut self.registered);
        registered.register(client, context, key, registration)
    }

    fn heartbeat(
        &mut self,
        context: &Context,
        service: &str,
        id: &str,
        health: Health,
    ) -> Result<(), Error> {
        let key = self.key(service, id);
        let (client, registered) = (&mut self.client, &mut self.registered);
        registered.heartbeat(client, context, &key, health)
    }

    fn deregister(&mut self, context: &Context, service: &str, id: &str) -> Result<(), Error> {
        let key = self.key(service, id);
        let (client, registered) = (&mut self.client, &mut self.registered);
        registered.deregister(client, context, &key)
    }
}

impl ListAndWatch for Etcd {
    fn list(&mut self, context: &Context, service: &str) -> Result<Snapshot, Error> {
        let prefix = self.key(service, "");
        let list = self.client.list(context, &prefix)?;
        let instance = |(key, value): (String, Vec<u8>)| {
            let id = key[prefix.len()..].to_owned();
            Ok(Document::read(&key, &value)?.instance(id))
        };
        let instances: Result<Vec<_>, Error> = list.entries.into_iter().map(instance).collect();
        Ok(Snapshot {
            instances: instances?,
            cursor: list.revision.to_string(),
        })
    }

    fn wait(
        &mut self,
        context: &Context,
        service: &str,
        cursor: &str,
        patience: Span,
    ) -> Result<Waited, Error> {
        let prefix = self.key(service, "");
        match cursor.parse() {
            Ok(revision) => {
                let client = &mut self.client;
                client.wait_for_change(context, &prefix, revision, patience)
            }
            // Of another backend, or of another version of this one.
            Err(_) => Ok(Waited::Changed),
        }
    }
}

impl Etcd {
    fn key(&self, service: &str, id: &str) -> String {
        format!("{}{service}/{id}", self.prefix)
    }
}
