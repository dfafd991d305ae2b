use poem_openapi::Object;
use serde::{Deserialize, Serialize};

use crate::{Heartbeat, HeartbeatAnswer, Registration};

/// Who a node is, with the proof that it holds the node token. Whoever passes a challenge on to a
/// node gets a proof that names the address of that node, and not its own.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Id of the node.
    pub id: String,
    /// Random id of this start of the node.
    pub boot: String,
    /// The address at which the request arrived: `ip:port`.
    pub address: String,
    /// As [`Registration::control_url`].
    pub control_url: String,
    /// Whether it has been told to stop: it serves on for a while, and is deregistered already.
    #[oai(default)]
    #[serde(default)]
    pub stopping: bool,
    /// HMAC-SHA256 of [`Identity::message`] under the node token, in hexadecimal.
    pub proof: String,
}

impl Identity {
    /// The shortest and the longest challenge, in bytes.
    pub const CHALLENGE_BYTES: std::ops::RangeInclusive<usize> = 16..=128;

    /// What the proof is made of, for a challenge of the engine.
    pub fn message(&self, challenge: &str) -> String {
        let Self {
            id,
            boot,
            address,
            control_url,
            stopping,
            proof: _,
        } = self;
        format!(
            "hotswap node identity 2\n{challenge}\n{id}\n{boot}\n{address}\n{control_url}\n{stopping}"
        )
    }
}

/// What an engine tells a node that it asks. Only for nodes that hold the node token.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub struct PollRequest {
    /// Where the node fetches artifacts: `http://host:port` of the engine. A node that was started
    /// with the URL of an engine keeps that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_url: Option<String>,
    /// What the answer to a heartbeat would tell the node. Absent: the engine does not know the
    /// node yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<HeartbeatAnswer>,
}

/// What a node would say in a registration and a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PollAnswer {
    /// What it would register with, its modules included.
    pub registration: Registration,
    /// What its heartbeat would say, without its modules and its addresses.
    pub heartbeat: Heartbeat,
}
