//! The provisional findings of a running soak: a state, not an event.

use std::sync::Arc;

use hotswap_core::DeploymentId;
use hotswap_runner::SoakProgress;
use hotswap_signalr::OutboundMessage;
use poem_openapi::types::ToJSON;
use serde_json::Value;

use super::offset::Offset;
use crate::view;

/// The name of the clients' handler.
pub(crate) const SOAK_PROGRESS: &str = "SoakProgress";

/// The argument of the message. Its place is the one of the last notification before it: who
/// resumes there misses nothing.
pub(crate) fn soak_argument(
    epoch: &str,
    id: DeploymentId,
    progress: &Arc<SoakProgress>,
    offset: Offset,
) -> Value {
    let progress = view::SoakProgress::new(id, progress);
    let mut fields = progress.to_json().unwrap_or_default();
    fields["epoch"] = epoch.into();
    fields["offset"] = offset.to_string().into();
    fields
}

/// The message. A newer one of the same soak replaces it.
pub(super) fn soak_message(
    epoch: &str,
    id: DeploymentId,
    progress: &Arc<SoakProgress>,
    offset: Offset,
) -> OutboundMessage {
    let argument = soak_argument(epoch, id, progress, offset);
    OutboundMessage::replaceable(format!("{SOAK_PROGRESS} {id}"), SOAK_PROGRESS, argument)
}
