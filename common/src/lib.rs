//! What every program of HotSwap needs and none should write again: [`Backoff`] between
//! attempts, [`Secret`] values, and [`file`] operations that survive a crash.
//!
//! This crate knows nothing of deployments. It imports no other crate of ours, and every
//! other crate may import it.

mod backoff;
pub mod file;
mod secret;

pub use backoff::Backoff;
pub use secret::{Secret, WeakSecret};
