use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;

use hotswap_core::{Environment, Health, NodeId};

use crate::registry::check_node_url;

/// The metadata that names an instance's environment.
const ENVIRONMENT: &str = "environment";

/// The metadata that says `https` where a node's ports have TLS.
const SCHEME: &str = "scheme";

/// The ports of a node, as registries name them.
const CONTROL: &str = "control";
const DATA: &str = "data";

/// Characters of a registry's text that a reason repeats.
const QUOTED: usize = 64;

/// An instance that can be a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The node's id.
    pub id: NodeId,
    /// The environment that the registry names for it.
    pub environment: Option<Environment>,
    /// Where it stands.
    pub zone: Option<String>,
    /// The version of its software.
    pub version: Option<String>,
    /// Further keys and values.
    pub labels: BTreeMap<String, String>,
    /// Address of its control API: `http://host:port`.
    pub control_url: Option<String>,
    /// Address where it serves requests.
    pub data_url: Option<String>,
    /// What the registry says of its health.
    pub health: Health,
}

/// An instance as a registry describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its id.
    pub id: String,
    /// A host name or an address.
    pub address: String,
    /// Its ports by their names.
    pub ports: BTreeMap<String, u16>,
    /// What the registry says of its health.
    pub health: Health,
    /// The version of its software.
    pub version: Option<String>,
    /// Where it stands.
    pub zone: Option<String>,
    /// Further keys and values.
    pub metadata: BTreeMap<String, String>,
}

/// An instance that cannot be a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidInstance {
    /// Its id, as much as fits into a line.
    pub id: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Found {
    /// The node that it describes: its ports `control` and `data` become URLs, of HTTPS if the
    /// metadata `scheme` says so, and the metadata `environment` its environment.
    ///
    /// # Errors
    /// [`InvalidInstance`] if the id, the environment, the scheme or the address cannot be those
    /// of a node.
    pub fn into_instance(mut self) -> Result<Instance, InvalidInstance> {
        let invalid = |reason: String| InvalidInstance {
            id: self.id.chars().take(QUOTED).collect(),
            reason,
        };
        let id: NodeId = match self.id.parse() {
            Ok(id) => id,
            Err(error) => return Err(invalid(format!("its id: {error}"))),
        };
        let scheme = match self.metadata.get(SCHEME).map(String::as_str) {
            None | Some("http") => "http",
            Some("https") => "https",
            Some(_) => {
                return Err(invalid(
                    "its scheme: write http or https into its metadata".to_owned(),
                ));
            }
        };
        let url = |port: &str| {
            let port = self.ports.get(port)?;
            let url = match self.address.parse::<Ipv6Addr>() {
                Ok(address) => format!("{scheme}://[{address}]:{port}"),
                Err(_) => format!("{scheme}://{}:{port}", self.address),
            };
            Some(check_node_url(&url).map(|()| url))
        };
        let (control_url, data_url) = match (url(CONTROL).transpose(), url(DATA).transpose()) {
            (Ok(control), Ok(data)) => (control, data),
            (Err(reason), _) | (_, Err(reason)) => {
                return Err(invalid(format!("its address: {reason}")));
            }
        };
        let environment = self.metadata.get(ENVIRONMENT);
        let environment = match environment.map(|name| name.parse()).transpose() {
            Ok(environment) => environment,
            Err(error) => return Err(invalid(format!("its environment: {error}"))),
        };
        self.metadata.remove(ENVIRONMENT);
        self.metadata.remove(SCHEME);
        Ok(Instance {
            id,
            environment,
            zone: self.zone,
            version: self.version,
            labels: self.metadata,
            control_url,
            data_url,
            health: self.health,
        })
    }
}

impl fmt::Display for InvalidInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}': {}", self.id, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Found {
        Found {
            id: "node-1".to_owned(),
            address: "10.0.0.1".to_owned(),
            ports: [("control".to_owned(), 9001), ("data".to_owned(), 9000)].into(),
            health: Health::Passing,
            version: None,
            zone: None,
            metadata: [("environment".to_owned(), "qa".to_owned())].into(),
        }
    }

    #[test]
    fn ports_become_urls_and_metadata_the_environment() {
        let instance = found().into_instance().expect("a node");
        assert_eq!(
            instance.control_url.as_deref(),
            Some("http://10.0.0.1:9001")
        );
        assert_eq!(instance.data_url.as_deref(), Some("http://10.0.0.1:9000"));
        assert_eq!(instance.environment, Some("qa".parse().expect("a name")));
        assert!(instance.labels.is_empty());
        let six = Found {
            address: "fd00::1".to_owned(),
            ..found()
        };
        let six = six.into_instance().expect("a node");
        assert_eq!(six.control_url.as_deref(), Some("http://[fd00::1]:9001"));
    }

    #[test]
    fn the_scheme_of_the_metadata_becomes_that_of_the_urls() {
        let mut secure = found();
        secure
            .metadata
            .insert("scheme".to_owned(), "https".to_owned());
        let instance = secure.into_instance().expect("a node");
        let control = instance.control_url.as_deref();
        assert_eq!(control, Some("https://10.0.0.1:9001"));
        assert_eq!(instance.data_url.as_deref(), Some("https://10.0.0.1:9000"));
        assert!(instance.labels.is_empty());
    }

    #[test]
    fn what_cannot_be_a_node_is_rejected_with_a_reason() {
        for (instance, reason) in [
            (
                Found {
                    id: "../x".repeat(100),
                    ..found()
                },
                "its id",
            ),
            (
                Found {
                    address: "me:secret@host/".to_owned(),
                    ..found()
                },
                "its address",
            ),
            (
                Found {
                    address: "0.0.0.0".to_owned(),
                    ..found()
                },
                "its address",
            ),
            (
                Found {
                    metadata: [("environment".to_owned(), "QA!".to_owned())].into(),
                    ..found()
                },
                "its environment",
            ),
            (
                Found {
                    metadata: [("scheme".to_owned(), "ftp".to_owned())].into(),
                    ..found()
                },
                "its scheme",
            ),
        ] {
            let invalid = instance.into_instance().expect_err(reason);
            assert!(invalid.reason.starts_with(reason), "{invalid}");
            assert!(!invalid.to_string().contains("secret"), "{invalid}");
            assert!(invalid.id.len() <= 64);
        }
    }
}
