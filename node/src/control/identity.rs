//! How the node proves who it is.

use std::net::SocketAddr;

use hotswap_protocol::{Identity, Problem};

use super::ControlContext;
use crate::problem::bad_request;

/// The identity of the node at the address `local`, at which it was asked, with the proof for this
/// challenge.
///
/// # Errors
/// If the challenge is none: the proof must be of no use to anybody but who asks.
pub(super) fn prove(
    context: &ControlContext,
    local: SocketAddr,
    challenge: &str,
) -> Result<Identity, Problem> {
    let is_visible = challenge.bytes().all(|byte| byte.is_ascii_graphic());
    if !Identity::CHALLENGE_BYTES.contains(&challenge.len()) || !is_visible {
        let detail = "challenge: send a random text of 16 to 128 visible ASCII characters";
        return Err(bad_request(detail.to_owned()));
    }
    let mut identity = Identity {
        id: context.id.to_string(),
        boot: context.boot.clone(),
        address: SocketAddr::new(local.ip().to_canonical(), local.port()).to_string(),
        control_url: context.addresses.urls_at(local.ip()).control,
        stopping: context.modules.is_stopping(),
        proof: String::new(),
    };
    let message = identity.message(challenge);
    identity.proof = context.token.get().prove(message.as_bytes());
    Ok(identity)
}
