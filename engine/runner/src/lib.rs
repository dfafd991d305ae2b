//! Runs deployments so that none is lost: leases, replay, the answers to a strategy's
//! calls, waits, reverts.
//!
//! [`Engine::start`] takes the parts below it (store, plugins, fleet) and goes on with
//! every deployment that has not ended. [`Deployments`], [`Modules`] and [`Strategies`]
//! are what the API calls.
//!
//! One deployment is one task, `driver`, which reads the journal, does the next step
//! that the journal does not hold yet, and appends what came of it. A crash at any point
//! is the same as dropping the task; starting it again goes on from the journal.

mod acts;
pub mod deployments;
mod driver;
mod engine;
mod environments;
mod execution;
mod history;
mod limits;
pub mod modules;
mod soak;
pub mod strategies;
mod supervisor;
mod tape;
mod wait;

pub use deployments::{Deployments, NewDeployment};
pub use engine::{Engine, Error, Parts};
pub use environments::Environments;
pub use limits::Limits;
pub use modules::Modules;
pub use strategies::Strategies;
