//! Helpers that several crates of HotSwap share: [`Backoff`] between attempts, [`Secret`]
//! values, and [`mod@file`] operations that survive a crash.
//!
//! This crate knows nothing about deployments. It imports no other crate of this workspace, and
//! every other crate may import it.

mod backoff;
pub mod file;
mod secret;

pub use backoff::Backoff;
pub use secret::{Secret, WeakSecret};
