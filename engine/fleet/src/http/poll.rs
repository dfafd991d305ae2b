//! Asks nodes that only a registry knows.
//!
//! A registry can name any address, so the node token is sent only to who has proven that it holds
//! the token already: see the record of decision 29.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hotswap_common::CurrentSecret;
use hotswap_common::tls::ClientTls;
use hotswap_core::NodeId;
use hotswap_protocol::{BOOT_HEADER, Identity, NODE_HEADER, PollAnswer, PollRequest};
use reqwest::{Method, StatusCode, Url};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::client::{SetupError, http_client};
use super::response::unreachable;
use crate::Options;
use crate::discovery::Networks;

/// Maximum size of an answer: the report of as many modules as a node may have.
const MAX_BODY_BYTES: usize = 4 << 20;

/// Who has not proven anything gets to send no more than this.
const MAX_IDENTITY_BYTES: usize = 16 << 10;

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;

/// Asks nodes for their reports.
pub struct PollClient {
    http: reqwest::Client,
    token: CurrentSecret,
    timeout: Duration,
}

/// A node that has proven that it holds the node token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenNode {
    /// Its id.
    pub id: NodeId,
    /// Random id of its start.
    pub boot: String,
    /// The address at which it has proven that.
    pub address: SocketAddr,
    /// Whether it is reached over TLS.
    pub has_tls: bool,
    /// Whether it was shutting down when it gave the proof.
    pub is_stopping: bool,
}

impl ProvenNode {
    /// The URL of its control API: where it has proven to be, whatever a name leads to later.
    pub fn control_url(&self) -> String {
        let scheme = if self.has_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

/// Why an instance is not a node of this engine, or does not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PollError {
    /// The URL cannot be one of a node.
    #[error("its control URL has no host or no port")]
    NoAddress,
    /// The name does not resolve.
    #[error("its host name does not resolve: {0}")]
    Unresolved(String),
    /// No node may be there.
    #[error(
        "it would be at {0}, where the engine asks no node that a registry names; if a node is there, name the network in `networks` of the source"
    )]
    NotAllowed(IpAddr),
    /// It cannot be reached, or the connection broke.
    #[error("{0}")]
    Unreachable(String),
    /// The instance that answers is not a node of this version.
    #[error("what answers at {0} is not a HotSwap node of this version")]
    NotANode(SocketAddr),
    /// Another node answers.
    #[error("another node, '{0}', answers at its address")]
    OtherNode(String),
    /// It does not hold the node token.
    #[error(
        "it does not prove that it holds this engine's node token; start it with the token of this engine"
    )]
    NotProven,
    /// It has proven who it is, and not that it is where the registry says.
    #[error(
        "it says that it is at {says}, and the registry says {found}; if both are right, start it with --advertise and the host that the registry names"
    )]
    OtherAddress {
        /// Where the node says that it is.
        says: String,
        /// Where the registry says that it is.
        found: String,
    },
    /// It was restarted, or another one has its address now. It must prove again who it is.
    #[error("it was restarted")]
    Restarted,
    /// It answers an error.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// Its answer makes no sense.
    #[error("its answer makes no sense; is it a node of this version?")]
    Invalid,
}

impl PollClient {
    /// A client that holds the node token `token`.
    ///
    /// # Errors
    /// [`SetupError`] if the HTTP client cannot be created.
    pub fn new(
        token: CurrentSecret,
        options: &Options,
        tls: &ClientTls,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            // No redirect may lead elsewhere than where the address was checked.
            http: http_client(options, tls, 1)?,
            token,
            timeout: options.request_timeout,
        })
    }

    /// Has the node at a control URL prove that it holds the node token, and that it is there.
    /// Sends no token, and nothing to an address that `networks` do not allow.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`PollError`].
    pub async fn prove(
        &self,
        id: &NodeId,
        control_url: &str,
        networks: &Networks,
    ) -> Result<ProvenNode, PollError> {
        let url = Url::parse(control_url).map_err(|_| PollError::NoAddress)?;
        let addresses = self.resolve(&url).await?;
        let refused = addresses[0].ip();
        let allowed = addresses.into_iter().filter(|it| networks.allow(it.ip()));
        let mut failure = PollError::NotAllowed(refused);
        for address in allowed.take(MAX_ADDRESSES) {
            match self.prove_at(id, &url, address).await {
                Ok(proven) => return Ok(proven),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Asks a node for its report, and tells it what it should know.
    ///
    /// Cancel safe: the node may have been told.
    ///
    /// # Errors
    /// [`PollError`]. After any but [`PollError::Status`] it must prove again who it is.
    pub async fn poll(
        &self,
        node: &ProvenNode,
        request: &PollRequest,
    ) -> Result<PollAnswer, PollError> {
        let request = self
            .request(
                Method::POST,
                (node.address, node.has_tls),
                "/v1/poll",
                &node.id,
            )
            .header(BOOT_HEADER, &node.boot)
            .bearer_auth(self.token.get().expose())
            .json(request);
        let (boot, answer) = self
            .send(request, (&node.id, node.address), MAX_BODY_BYTES)
            .await?;
        if boot != node.boot {
            return Err(PollError::Restarted);
        }
        Ok(answer)
    }

    async fn resolve(&self, url: &Url) -> Result<Vec<SocketAddr>, PollError> {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(PollError::NoAddress);
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let unresolved = |reason: String| PollError::Unresolved(reason);
        let found = timeout(self.timeout, tokio::net::lookup_host((host, port))).await;
        let found = found.map_err(|_| unresolved("no answer in time".to_owned()))?;
        let found = found.map_err(|error| unresolved(error.to_string()))?;
        let canonical = found.map(|it| SocketAddr::new(it.ip().to_canonical(), it.port()));
        let addresses: Vec<_> = canonical.collect();
        match addresses.is_empty() {
            true => Err(unresolved("it has no address".to_owned())),
            false => Ok(addresses),
        }
    }

    async fn prove_at(
        &self,
        id: &NodeId,
        url: &Url,
        address: SocketAddr,
    ) -> Result<ProvenNode, PollError> {
        let challenge = random_challenge().ok_or_else(|| {
            PollError::Unreachable(
                "cannot get random bytes for a challenge from the system".to_owned(),
            )
        })?;
        let has_tls = url.scheme() == "https";
        let request = self
            .request(Method::GET, (address, has_tls), "/v1/identity", id)
            .query(&[("challenge", &challenge)]);
        let (boot, identity): (_, Identity) = self
            .send(request, (id, address), MAX_IDENTITY_BYTES)
            .await?;
        let message = identity.message(&challenge);
        if !self
            .token
            .get()
            .is_proven_by(&identity.proof, message.as_bytes())
        {
            return Err(PollError::NotProven);
        }
        // Both are part of the proof.
        if identity.id != id.as_str() || identity.boot != boot {
            return Err(PollError::OtherNode(shorten(&identity.id)));
        }
        let authority =
            |url: &Url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?));
        let advertised = Url::parse(&identity.control_url).ok();
        let advertised = advertised.as_ref().and_then(authority);
        let is_there = identity.address == address.to_string()
            || (advertised.is_some() && advertised == authority(url));
        if !is_there {
            return Err(PollError::OtherAddress {
                says: shorten(&identity.control_url),
                found: url.to_string(),
            });
        }
        Ok(ProvenNode {
            id: id.clone(),
            boot,
            address,
            has_tls,
            is_stopping: identity.stopping,
        })
    }

    fn request(
        &self,
        method: Method,
        (address, has_tls): (SocketAddr, bool),
        path: &str,
        id: &NodeId,
    ) -> reqwest::RequestBuilder {
        let scheme = if has_tls { "https" } else { "http" };
        self.http
            .request(method, format!("{scheme}://{address}{path}"))
            .header(NODE_HEADER, id.as_str())
            .timeout(self.timeout)
    }

    /// Sends a request. Returns the start that has answered, and the answer.
    async fn send<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        (id, address): (&NodeId, SocketAddr),
        max_bytes: usize,
    ) -> Result<(String, T), PollError> {
        let timeout = self.timeout;
        let failed = |error| {
            PollError::Unreachable(
                match unreachable(error, &address.ip().to_string(), timeout) {
                    hotswap_core::NodeError::Unreachable(reason) => reason,
                    error => error.to_string(),
                },
            )
        };
        let mut response = request.send().await.map_err(failed)?;
        let header = |name| {
            let value = response.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let (Some(node), Some(boot)) = (header(NODE_HEADER), header(BOOT_HEADER)) else {
            return Err(PollError::NotANode(address));
        };
        if node != id.as_str() {
            return Err(PollError::OtherNode(shorten(&node)));
        }
        match response.status() {
            StatusCode::OK => {}
            StatusCode::MISDIRECTED_REQUEST => return Err(PollError::Restarted),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(PollError::NotProven),
            StatusCode::NOT_FOUND => return Err(PollError::NotANode(address)),
            status => return Err(PollError::Status(status)),
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > max_bytes {
                return Err(PollError::Invalid);
            }
            body.extend_from_slice(&chunk);
        }
        let answer = serde_json::from_slice(&body).map_err(|_| PollError::Invalid)?;
        Ok((boot, answer))
    }
}

/// Ids and URLs of strangers are shown to people.
fn shorten(text: &str) -> String {
    let printable = text.chars().filter(|letter| !letter.is_control());
    printable.take(80).collect()
}

/// `None` if the system has no randomness.
fn random_challenge() -> Option<String> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
