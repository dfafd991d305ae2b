use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use hotswap_common::Secret;
use hotswap_store::RedisConfig;
use hotswap_store::redis::{RequiredDurability, Tls};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;
use crate::secret_file;

/// The environment variable that holds the password of the store.
pub const PASSWORD_VARIABLE: &str = "HOTSWAP_STORE_PASSWORD";

/// Where the engine keeps its state: in a file of its own, or on a server of Redis or Valkey that
/// any number of engines share. See docs/SCALING.md.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Store {
    /// The server, as `redis://host:port`, with the number of the database as path where it is not
    /// 0. `redis+sentinel://host:port,host:port/name` names sentinels and the primary that they
    /// monitor, `redis+cluster://host:port,host:port` nodes of a cluster. With `rediss` in place of
    /// `redis`, over TLS. Without it, the state is in `dataDir`, for this engine alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"rediss+sentinel://sentinel.example.org:26379/main")]
    pub url: Option<String>,
    /// The user of the server's access control list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"hotswap")]
    pub username: Option<String>,
    /// A file with the user's password. Without it, `HOTSWAP_STORE_PASSWORD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/hotswap/store-password")]
    pub password_file: Option<PathBuf>,
    /// The user of the sentinels' access control list, where they have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"hotswap")]
    pub sentinel_username: Option<String>,
    /// A file with the password of the sentinels, where they have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/hotswap/sentinel-password")]
    pub sentinel_password_file: Option<PathBuf>,
    /// The certificate authority of the server, in PEM. Without it, those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/hotswap/store-ca.pem")]
    pub ca_file: Option<PathBuf>,
    /// The certificate by which the engine identifies itself to the server, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/hotswap/store-cert.pem")]
    pub cert_file: Option<PathBuf>,
    /// The key of that certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/hotswap/store-key.pem")]
    pub key_file: Option<PathBuf>,
    /// What all keys on the server begin with. Installations with different ones share a server.
    pub key_prefix: String,
    /// Whether the engine refuses to start on a server that may lose everything: one without an
    /// append-only file, or one that deletes keys once its memory is full.
    pub require_durable: bool,
    /// Whether each append waits until the server has it on its disk. A server with `appendfsync
    /// always` does that by itself; with `everysec` it takes up to a second, and needs Valkey, or
    /// Redis 7.2.
    pub wait_for_disk: bool,
    /// How many replicas of the server must have an append before it counts as done; from 0 to 16.
    pub wait_for_replicas: u32,
    /// How long another engine waits for a sign of life before it takes over what this one drives;
    /// from 1 s to 1 minute. The same for all engines.
    pub lease: Span,
    /// How long a command is tried again while the server does not answer; from 1 s to 10 minutes.
    pub patience: Span,
    /// The name of this engine among the others, for people. Without it, the name of the machine
    /// and the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"engine-1")]
    pub engine: Option<String>,
}

impl Default for Store {
    fn default() -> Self {
        let config = RedisConfig::new(String::new());
        Self {
            url: None,
            username: None,
            password_file: None,
            sentinel_username: None,
            sentinel_password_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            key_prefix: config.key_prefix,
            require_durable: true,
            wait_for_disk: config.wait_for_disk,
            wait_for_replicas: config.wait_for_replicas,
            lease: Span(config.lease_ttl),
            patience: Span(config.patience),
            engine: None,
        }
    }
}

impl Store {
    /// Checks what the types do not say.
    ///
    /// # Errors
    /// If a value is outside its range, or has no meaning without another one.
    pub fn check(&self) -> Result<()> {
        let Some(config) = self.without_secrets()? else {
            ensure!(
                *self == Self::default(),
                "store.url is missing: the other keys of [store] are for a server"
            );
            return Ok(());
        };
        config.check().context("store")
    }

    /// How the server is reached. `None` where there is none. `variable` returns the value of an
    /// environment variable.
    ///
    /// # Errors
    /// If the password cannot be read.
    pub fn resolve(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<RedisConfig>> {
        let Some(config) = self.without_secrets()? else {
            return Ok(None);
        };
        let password = match &self.password_file {
            Some(file) => Some(secret_file::read(file)?),
            None => variable(PASSWORD_VARIABLE).map(|text| Secret::new(text.trim())),
        };
        let sentinel_password = self.sentinel_password_file.as_deref();
        Ok(Some(RedisConfig {
            password,
            sentinel_password: sentinel_password.map(secret_file::read).transpose()?,
            ..config
        }))
    }

    /// The files that hold passwords.
    pub fn password_files(&self) -> impl Iterator<Item = &Path> {
        let files = [&self.password_file, &self.sentinel_password_file];
        files.into_iter().flatten().map(PathBuf::as_path)
    }

    fn without_secrets(&self) -> Result<Option<RedisConfig>> {
        let Some(url) = &self.url else {
            return Ok(None);
        };
        ensure!(
            self.cert_file.is_some() == self.key_file.is_some(),
            "store.certFile and store.keyFile belong together: set both, or neither"
        );
        // The password itself is read later, when the configuration has been checked.
        ensure!(
            self.sentinel_password_file.is_none() || url.contains("+sentinel://"),
            "store.sentinelPasswordFile needs an address that begins with redis+sentinel:// or \
             rediss+sentinel://"
        );
        let config = RedisConfig::new(url);
        Ok(Some(RedisConfig {
            username: self.username.clone(),
            sentinel_username: self.sentinel_username.clone(),
            tls: Tls {
                ca_file: self.ca_file.clone(),
                client: self.cert_file.clone().zip(self.key_file.clone()),
            },
            key_prefix: self.key_prefix.clone(),
            durability: match self.require_durable {
                true => RequiredDurability::Durable,
                false => RequiredDurability::Anything,
            },
            wait_for_disk: self.wait_for_disk,
            wait_for_replicas: self.wait_for_replicas,
            lease_ttl: self.lease.0,
            patience: self.patience.0,
            engine: match &self.engine {
                Some(name) => name.clone(),
                None => format!("{}-{}", machine(), std::process::id()),
            },
            ..config
        }))
    }
}

/// The name of this machine, as far as the system tells.
fn machine() -> String {
    let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    match name.trim() {
        "" => "engine".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_of_sentinels_without_sentinels_is_refused() {
        let store = |url: &str| Store {
            url: Some(url.to_owned()),
            sentinel_password_file: Some("no-such-file".into()),
            ..Store::default()
        };
        store("redis+sentinel://localhost/main").check().unwrap();
        let error = store("redis://localhost").check().unwrap_err().to_string();
        assert!(error.contains("store.sentinelPasswordFile"), "{error}");
    }

    #[test]
    fn keys_without_a_server_are_refused() {
        Store::default().check().unwrap();
        let store = Store {
            wait_for_disk: true,
            ..Store::default()
        };
        let error = store.check().unwrap_err().to_string();
        assert!(error.contains("store.url"), "{error}");
    }

    #[test]
    fn an_address_with_a_password_is_refused_and_not_repeated() {
        let store = Store {
            url: Some("redis://ada:secret@localhost".to_owned()),
            ..Store::default()
        };
        let error = format!("{:#}", store.check().unwrap_err());
        assert!(error.contains("password in a file"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn sentinels_have_a_password_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "of the sentinels\n").unwrap();
        let store = Store {
            url: Some("redis+sentinel://a,b/main".to_owned()),
            sentinel_username: Some("ada".to_owned()),
            sentinel_password_file: Some(file),
            ..Store::default()
        };
        store.check().unwrap();
        let config = store.resolve(|_| None).unwrap().unwrap();
        config.check().unwrap();
        assert_eq!(config.sentinel_username.as_deref(), Some("ada"));
        let password = config.sentinel_password.unwrap();
        assert_eq!(password.expose(), "of the sentinels");
        assert!(config.password.is_none());
    }

    #[test]
    fn the_password_comes_from_the_file_or_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "of the file\n").unwrap();
        let with = |password_file| Store {
            url: Some("redis://localhost".to_owned()),
            password_file,
            ..Store::default()
        };
        let variable = |name: &str| (name == PASSWORD_VARIABLE).then(|| "of a variable".to_owned());
        for (store, expected) in [
            (with(Some(file)), "of the file"),
            (with(None), "of a variable"),
        ] {
            let config = store.resolve(variable).unwrap().unwrap();
            assert_eq!(config.password.unwrap().expose(), expected);
        }
    }
}
