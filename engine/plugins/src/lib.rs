//! Loads deployment strategies from WebAssembly components, limits them and runs them.
//!
//! [`Host::load`] checks and compiles a component into a [`Strategy`], or returns a
//! [`LoadError`] that says what is wrong and what to do about it. [`Strategy::run`] runs it
//! against a [`CallHandler`]: the runner, a replay or a simulation. Whatever the component
//! does, the run ends with an [`Exit`] whose reason a person understands:
//!
//! - The component has no rights except its calls: no clock, no files, no network, no
//!   randomness.
//! - [`Limits`] bounds its memory and the instructions between two calls and of a whole run, the
//!   same on every machine. Its stack and the size of each call are bounded as well.
//! - Runs share nothing. They compute on threads of their own, apart from those of the caller,
//!   and a run that computes for long yields to the others.
//!
//! Two rooms, and the types that tie them together:
//!
//! - `load` checks a component against the contract in `wit/strategy` and compiles it. It
//!   begins in `load.rs`.
//! - `run` makes an instance and passes its calls on. It begins in `run/program.rs`;
//!   `run/interface.rs` has the types on which everything in `run` depends.
//! - `strategy.rs` and `host.rs` stand on top of both. Nothing in `run` imports from `load`.
//!
//! [`discovery`] does the same for discovery backends, which may also send requests. It shares the
//! cache, the threads, the checks and the errors of `load`, and the explanations of `run`.
//!
//! `tests/strategies` and `tests/discovery` show everything in use.

#![cfg_attr(
    not(test),
    warn(clippy::expect_used, clippy::panic, clippy::unreachable)
)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod bindings;
mod component_cache;
pub mod discovery;
mod host;
mod limits;
mod load;
mod run;
mod strategy;

pub use host::{Error, Host};
pub use limits::Limits;
pub use load::{ConfigError, ConfigProblem, Descriptor, LoadError, SchemaError, inspect};
pub use run::{CallHandler, Exit, Plan, ReadyAnswers, Stop};
pub use strategy::Strategy;
