//! Finds and registers instances in etcd, through its JSON gateway.
//!
//! The key of an instance is the prefix, the service, a slash and its id; its value is JSON. One
//! with a TTL is put with a lease, so it disappears with it.

mod api;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;

use hotswap_sdk::Span;
use hotswap_sdk::discovery::{
    Backend, Context, Document, Endpoints, Error, Health, HealthCheck, ListAndWatch, Registration,
    Secret, SecretPlace, Snapshot, Waited, list_and_watch,
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
    /// The instances that were registered here, by key.
    registered: BTreeMap<String, Registered>,
}

/// An instance that was registered here.
struct Registered {
    value: Document,
    /// Zero if it has none.
    lease: i64,
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
            registered: BTreeMap::new(),
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
        let lease = match &registration.check {
            Some(HealthCheck::Ttl(span)) => {
                // Whole seconds, at least two: etcd rounds up what is less.
                let seconds = span.div_ceil(1000).max(2);
                self.client.grant(context, seconds)?
            }
            Some(HealthCheck::Http(_)) => {
                let text = "etcd asks no instance for its health: use a check with a TTL";
                return Err(Error::InvalidConfig(text.to_owned()));
            }
            Some(HealthCheck::Other(_)) | None => 0,
        };
        let key = self.key(&registration.service, &registration.id);
        let registered = Registered {
            value: Document::of(registration),
            lease,
        };
        self.client.put(context, &key, &registered.value, lease)?;
        let replaced = self.registered.insert(key, registered);
        if let Some(old) = replaced.filter(|old| old.lease != 0) {
            // It would end by itself, so a failure is no harm.
            let _ = self.client.revoke(context, old.lease);
        }
        Ok(())
    }

    fn heartbeat(
        &mut self,
        context: &Context,
        service: &str,
        id: &str,
        health: Health,
    ) -> Result<(), Error> {
        let key = self.key(service, id);
        let registered = self.registered.get_mut(&key).ok_or(Error::NotFound)?;
        if registered.lease != 0 {
            self.client.keep_alive(context, registered.lease)?;
        }
        let value = registered.value.with_health(health);
        // Its lease may outlive a key that somebody has removed.
        if value != registered.value || !self.client.has(context, &key)? {
            self.client.put(context, &key, &value, registered.lease)?;
            registered.value = value;
        }
        Ok(())
    }

    fn deregister(&mut self, context: &Context, service: &str, id: &str) -> Result<(), Error> {
        let key = self.key(service, id);
        self.client.delete(context, &key)?;
        let registered = self.registered.remove(&key);
        if let Some(registered) = registered.filter(|registered| registered.lease != 0) {
            // It would end by itself, so a failure is no harm.
            let _ = self.client.revoke(context, registered.lease);
        }
        Ok(())
    }
}

impl ListAndWatch for Etcd {
    fn list(&mut self, context: &Context, service: &str) -> Result<Snapshot, Error> {
        let prefix = self.key(service, "");
        let list = self.client.list(context, &prefix)?;
        let instance = |(key, value): (String, Vec<u8>)| {
            let id = key[prefix.len()..].to_owned();
            let value: Document = serde_json::from_slice(&value).map_err(|error| {
                Error::Protocol(format!("the value of {key} is no instance: {error}"))
            })?;
            Ok(value.instance(id))
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
