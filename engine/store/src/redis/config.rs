//! How a store on a server is configured.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hotswap_common::Secret;

use super::commands::key_prefix;
use super::credentials::Credentials;
use super::endpoint::{Endpoint, EndpointKind};
use super::error::Error;
use super::locator::Locator;

/// How a store on a server of Redis or Valkey is configured.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// Where the server is: `redis://host:port`, with the number of the database as path where it is
    /// not 0. `redis+sentinel://host:port,host:port/name` names sentinels and the primary that they
    /// monitor, `redis+cluster://host:port,host:port` some nodes of a cluster. With `rediss` in place
    /// of `redis` all of it is over TLS. Without a password.
    pub url: String,
    /// The user of the server's access control list.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// The user of the sentinels' access control list.
    pub sentinel_username: Option<String>,
    /// The password of the sentinels.
    pub sentinel_password: Option<Secret>,
    /// The certificates for `rediss://`.
    pub tls: Tls,
    /// What all keys begin with, in braces. Installations with different ones share a server.
    pub key_prefix: String,
    /// What the server must promise.
    pub durability: RequiredDurability,
    /// Whether an append waits until the server says that it is on its disk (`WAITAOF`). Takes up to
    /// a second on a server with `appendfsync everysec`. One that cannot tell is accepted only if it
    /// writes to its disk before each answer, one that keeps its data in memory alone never.
    pub wait_for_disk: bool,
    /// How many replicas of the server must have an append on their disks before it counts as
    /// done.
    pub wait_for_replicas: u32,
    /// How long a command is tried again while the server does not answer.
    pub patience: Duration,
    /// How long the leases of an engine are held that gives no sign of life.
    pub lease_ttl: Duration,
    /// The name of this engine, for people.
    pub engine: String,
    /// Whether this is no engine, but a command that only looks: it gets no share of the environments,
    /// and is in no list of engines. While it lives, the store is in use all the same.
    pub is_observer: bool,
    /// What should be the same for all engines: names of settings with their values as text. Engines
    /// that have different ones are named. `None`: this one tells no settings, and compares none.
    pub settings: Option<BTreeMap<String, String>>,
    /// The file in which this engine keeps what it has seen of the store, so that it notices after a
    /// restart what the store lost meanwhile. No other engine may use the file. With `None` the
    /// engine forgets at its end what it has seen.
    pub witness_file: Option<PathBuf>,
}

/// Certificates for a connection with TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// The certificate authority of the server. `None` for those of the system.
    pub ca_file: Option<PathBuf>,
    /// The certificate by which this engine identifies itself, and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// What a server must promise before an engine stores anything on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RequiredDurability {
    /// It survives a restart of the server: a server without an append-only file, or one that
    /// evicts keys, is refused.
    #[default]
    Durable,
    /// Nothing: for trials. What is missing is logged.
    Anything,
}

impl RedisConfig {
    /// The longest key prefix, in bytes.
    const MAX_PREFIX: usize = 64;

    /// A configuration with defaults for everything but the address.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            username: None,
            password: None,
            sentinel_username: None,
            sentinel_password: None,
            tls: Tls::default(),
            key_prefix: "hotswap".to_owned(),
            durability: RequiredDurability::default(),
            wait_for_disk: false,
            wait_for_replicas: 0,
            patience: Duration::from_secs(5),
            lease_ttl: Duration::from_secs(3),
            engine: format!("engine-{}", std::process::id()),
            is_observer: false,
            settings: None,
            witness_file: None,
        }
    }

    /// Checks what can be checked without a server.
    ///
    /// # Errors
    /// [`Error::Address`], with what to change.
    pub fn check(&self) -> Result<(), Error> {
        let endpoint = self.endpoint()?;
        let invalid = |reason: String| Err(Error::Address(reason));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if self.key_prefix.is_empty()
            || self.key_prefix.len() > Self::MAX_PREFIX
            || !self.key_prefix.bytes().all(is_plain)
        {
            return invalid(format!(
                "the key prefix is invalid: use 1 to {} letters, digits and -_.:",
                Self::MAX_PREFIX
            ));
        }
        for (what, span, min, max) in [
            ("the lease", self.lease_ttl, 1, 60),
            // The store remembers for longer which changes of environments were made
            // (`append_to_environment.lua`).
            ("the patience", self.patience, 1, 600),
        ] {
            let range = Duration::from_secs(min)..=Duration::from_secs(max);
            if !range.contains(&span) {
                return invalid(format!("{what} must be between {min}s and {max}s"));
            }
        }
        if self.wait_for_replicas > 16 {
            return invalid("at most 16 replicas can be waited for".to_owned());
        }
        if self.tls != Tls::default() && !endpoint.has_tls {
            return invalid(
                "certificates need an address that begins with rediss, for TLS".to_owned(),
            );
        }
        let has_sentinels = matches!(endpoint.kind, EndpointKind::Sentinel(_));
        if !has_sentinels && (self.sentinel_username.is_some() || self.sentinel_password.is_some())
        {
            return invalid(
                "a user or a password of sentinels needs an address that begins with \
                 redis+sentinel:// or rediss+sentinel://"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// The address without anything secret.
    pub fn shown_url(&self) -> String {
        match self.endpoint() {
            Ok(endpoint) => endpoint.to_string(),
            Err(_) => "redis://…".to_owned(),
        }
    }

    fn endpoint(&self) -> Result<Endpoint, Error> {
        if self.url.contains('@') {
            let rule = "the store's address must not hold a user or a password, because \
                        addresses are shown and logged: name the user by itself, and the password \
                        in a file or in the environment";
            return Err(Error::Address(rule.to_owned()));
        }
        // Not repeated: it may hold a password.
        let rule = "the store's address is invalid: write it as redis://host:port, \
                    redis+sentinel://host:port,host:port/name or \
                    redis+cluster://host:port,host:port, with rediss in place of redis for TLS";
        Endpoint::parse(&self.url).ok_or_else(|| Error::Address(rule.to_owned()))
    }

    /// What finds the server. Connects to nothing yet.
    pub(super) fn locator(&self) -> Result<Locator, Error> {
        self.check()?;
        Ok(Locator::new(
            self.endpoint()?,
            Credentials::read(self)?,
            format!("{}meta", key_prefix(self)),
        ))
    }
}

impl fmt::Display for RequiredDurability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Durable => "durable",
            Self::Anything => "anything",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_could_hold_a_password_is_refused_without_being_shown() {
        for url in [
            "redis://ada:secret@localhost",
            "rediss://:secret@localhost:1",
            "http://localhost/secret",
            "redis://localhost?password=secret",
            "secret",
        ] {
            let config = RedisConfig::new(url);
            let error = config.check().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
            assert!(!config.shown_url().contains("secret"));
        }
    }

    #[test]
    fn the_shown_address_has_no_password_and_neither_has_the_configuration() {
        let config = RedisConfig {
            username: Some("ada".to_owned()),
            password: Some(Secret::new("secret")),
            ..RedisConfig::new("redis://localhost:6379/3")
        };
        config.check().unwrap();
        assert_eq!(config.shown_url(), "redis://localhost:6379/3");
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn values_outside_their_ranges_are_refused() {
        let base = || RedisConfig::new("redis://localhost");
        base().check().unwrap();
        let prefix = |key_prefix: &str| RedisConfig {
            key_prefix: key_prefix.to_owned(),
            ..base()
        };
        for config in [
            prefix(""),
            prefix("{a}"),
            prefix(&"a".repeat(65)),
            RedisConfig {
                lease_ttl: Duration::from_millis(999),
                ..base()
            },
            RedisConfig {
                patience: Duration::ZERO,
                ..base()
            },
            RedisConfig {
                wait_for_replicas: 17,
                ..base()
            },
            RedisConfig {
                sentinel_password: Some(Secret::new("secret")),
                ..base()
            },
            RedisConfig {
                tls: Tls {
                    ca_file: Some("ca.pem".into()),
                    client: None,
                },
                ..base()
            },
        ] {
            assert!(config.check().is_err(), "{config:?}");
        }
    }
}
