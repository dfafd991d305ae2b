//! Credentials for the server and the sentinels, and the trusted certificate authorities.

use std::path::Path;

use hotswap_common::Secret;
use hotswap_common::tls::{CertificateFiles, ClientFiles, ClientTls, Error};
use redis::{ClientTlsConfig, ProtocolVersion, RedisConnectionInfo, TlsCertificates};

use super::config::{RedisConfig, Tls};

/// Users with their passwords, and the contents of certificate files.
#[derive(Clone)]
pub(super) struct Credentials {
    user: User,
    sentinel_user: User,
    authority: Option<Vec<u8>>,
    /// The certificate of this engine, and its key.
    client: Option<(Vec<u8>, Vec<u8>)>,
}

#[derive(Clone)]
struct User {
    name: Option<String>,
    password: Option<Secret>,
}

impl Credentials {
    /// Takes the users from the configuration, and reads the files. Blocks.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(super) fn read(config: &RedisConfig) -> Result<Self, Error> {
        let user = |name: &Option<String>, password: &Option<Secret>| User {
            name: name.clone(),
            password: password.clone(),
        };
        let client = config.tls.client.as_ref();
        let client = client.map(|(certificate, key)| Ok((read(certificate)?, read(key)?)));
        Ok(Self {
            user: user(&config.username, &config.password),
            sentinel_user: user(&config.sentinel_username, &config.sentinel_password),
            authority: config.tls.ca_file.as_deref().map(read).transpose()?,
            client: client.transpose()?,
        })
    }

    /// As [`Self::read`], but also checks that connections can be made with what the files hold.
    ///
    /// # Errors
    /// [`Error`] names the file that cannot be used.
    pub(super) fn read_checked(config: &RedisConfig) -> Result<Self, Error> {
        check(&config.tls)?;
        Self::read(config)
    }

    pub(super) fn settings(&self) -> RedisConnectionInfo {
        self.user.settings()
    }

    pub(super) fn sentinel_settings(&self) -> RedisConnectionInfo {
        self.sentinel_user.settings()
    }

    pub(super) fn certificates(&self) -> TlsCertificates {
        let client = self.client.clone();
        TlsCertificates {
            client_tls: client.map(|(client_cert, client_key)| ClientTlsConfig {
                client_cert,
                client_key,
            }),
            root_cert: self.authority.clone(),
        }
    }
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.user == other.user
            && self.sentinel_user == other.sentinel_user
            && self.authority == other.authority
            && self.client == other.client
    }
}

impl User {
    fn settings(&self) -> RedisConnectionInfo {
        let mut settings = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("hotswap", env!("CARGO_PKG_VERSION"));
        if let Some(name) = &self.name {
            settings = settings.set_username(name);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password.expose());
        }
        settings
    }
}

impl PartialEq for User {
    fn eq(&self, other: &Self) -> bool {
        let (one, another) = (self.password.as_ref(), other.password.as_ref());
        self.name == other.name && one.map(Secret::expose) == another.map(Secret::expose)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|reason| Error::Read {
        path: path.to_owned(),
        reason,
    })
}

fn check(tls: &Tls) -> Result<(), Error> {
    let client = tls.client.clone();
    ClientTls::open(ClientFiles {
        authorities: tls.ca_file.clone(),
        trusts_system: tls.ca_file.is_none(),
        client: client.map(|(certificate, key)| CertificateFiles { certificate, key }),
        server_name: None,
    })?;
    Ok(())
}
