//! Whether the right node has answered.

use hotswap_core::{NodeError, NodeId};
use hotswap_protocol::{BOOT_HEADER, NODE_HEADER};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;

/// The node that a request is for. Addresses are reused: another node, or another program, may
/// listen where it has registered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addressee<'a> {
    pub(super) node: &'a NodeId,
    /// Random id of the start that has registered, if it is known.
    pub(super) boot: Option<&'a str>,
}

impl Addressee<'_> {
    /// Checks that a response comes from the node. What others answer means nothing, be it a
    /// success or a refusal.
    ///
    /// # Errors
    /// [`NodeError::Unreachable`]: the node may register from another address.
    pub(super) fn check(&self, status: StatusCode, headers: &HeaderMap) -> Result<(), NodeError> {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        match header(NODE_HEADER) {
            Some(node) if node == self.node.as_str() => {}
            Some(node) => {
                let node: String = node.chars().take(80).collect();
                return Err(NodeError::Unreachable(format!(
                    "another node, '{node}', has its address now"
                )));
            }
            None => {
                return Err(NodeError::Unreachable(
                    "what answers at its address is not a HotSwap node of this version".to_owned(),
                ));
            }
        }
        let is_other_start = self
            .boot
            .is_some_and(|boot| header(BOOT_HEADER) != Some(boot));
        let is_refused = match status {
            StatusCode::MISDIRECTED_REQUEST => true,
            // A node of another engine may have the same id, and has another token.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => is_other_start,
            _ => false,
        };
        if is_refused {
            return Err(NodeError::Unreachable(
                "it was restarted and has not registered yet, or another node with its name has \
                 its address now"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}
