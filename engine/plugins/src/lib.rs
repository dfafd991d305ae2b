//! Strategies as WebAssembly components: checked, compiled, limited and run.
//!
//! A [`Host`] loads a component into a [`Strategy`], or says in a sentence why it is
//! none ([`LoadError`]). A strategy runs against whatever answers its [`Calls`]: the
//! runner, a replay, a simulation. Whatever the component does, the run ends with an
//! [`Exit`] whose reason a person understands:
//!
//! - it has no rights but the calls: no clock, no files, no network, no randomness;
//! - its memory, its stack, what it passes in a call, and the time that it computes
//!   between two calls are bounded by [`Limits`];
//! - runs share nothing, and one that computes for long lets others go on meanwhile.
//!
//! The way of a component through this crate: [`inspect`] reads its names, `contract`
//! holds them against the WIT, `host` compiles and links it, `program` makes instances
//! of it, `drive` passes their calls on.

mod bindings;
mod contract;
mod convert;
mod drive;
mod end;
mod engine;
mod host;
mod imports;
pub mod inspect;
mod limits;
mod load;
mod mailbox;
mod program;
mod schema;
mod state;
mod strategy;
mod ticker;

pub use host::{Error, Host};
pub use limits::Limits;
pub use load::LoadError;
pub use schema::{ConfigError, Problem, SchemaError};
pub use strategy::{Calls, Descriptor, Exit, Plan, Stop, Strategy};
