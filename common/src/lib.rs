//! Helpers that several crates of HotSwap share: [`Backoff`] between attempts, [`BatchReceiver`]s of messages,
//! [`Secret`] values, [`mod@file`] operations that survive a crash, [`mod@tls`] of servers and clients,
//! [`Stopping`] of servers, the end of a log ([`RecentLog`]), [`vital`] tasks, [`mod@addresses`] that are special, how programs use [`mod@memory`], [`mod@metrics`] and [`mod@trace`]s of
//! what they do, and [`free_ports`] for servers that they start.
//!
//! This crate knows nothing about deployments. It imports no other crate of this workspace, and
//! every other crate may import it.

#![cfg_attr(
    not(test),
    warn(clippy::expect_used, clippy::panic, clippy::unreachable)
)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod addresses;
mod backoff;
mod batch_receiver;
mod current_secret;
pub mod file;
pub mod memory;
pub mod metrics;
mod ports;
mod recent_log;
mod secret;
mod stopping;
pub mod tls;
pub mod trace;
mod vital;

pub use backoff::Backoff;
pub use batch_receiver::BatchReceiver;
pub use current_secret::CurrentSecret;
pub use ports::free_ports;
pub use recent_log::RecentLog;
pub use secret::{Secret, WeakSecret};
pub use stopping::Stopping;
pub use vital::{vital, vital_thread, vital_until_done};
