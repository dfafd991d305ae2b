//! Runs a compiled component: one instance for each run, whose calls a [`CallHandler`]
//! answers.
//!
//! [`Program`] starts an instance; `drive` lets it compute on the `guest_threads` and passes on
//! each call that `imports` has left in the `mailbox`; `state` and `engine` set the limits;
//! `cause` explains a crash.

pub(crate) mod cause;
mod context;
mod convert;
mod drive;
pub(crate) mod engine;
mod guest_threads;
mod imports;
mod interface;
mod mailbox;
mod memory_limiter;
mod program;
mod state;

pub(crate) use context::HostContext;
pub(crate) use guest_threads::GuestThreads;
pub(crate) use interface::RunError;
pub use interface::{CallHandler, Exit, Plan, ReadyAnswers, Stop};
pub(crate) use memory_limiter::MemoryLimiter;
pub(crate) use program::Program;
pub(crate) use state::InstanceState;
