//! Minimal clients, a deployment whose journal the test writes, and shared assertions.

mod assertions;
mod client_state;
mod hub_client;
mod manual_deployment;
mod socket_client;
mod sse_client;

pub use assertions::{assert_recovered, assert_snapshot};
pub use client_state::ClientState;
pub use hub_client::*;
pub use manual_deployment::{ManualDeployment, log, planned, progress};
pub use socket_client::{SocketClient, TIMEOUT, rejected_upgrade};
pub use sse_client::{SseClient, SseEvent};
