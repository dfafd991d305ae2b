//! What the end-to-end tests and benches share: a whole HotSwap in one process
//! ([`Cluster`]: engine, API, nodes, each with its own sockets and disk), one of real
//! processes ([`Installation`]), clients that keep asking ([`Load`]), and a store that stops
//! the engine at any append ([`Crashing`]).

mod cluster;
mod crashing;
mod header;
mod installation;
mod load;
mod outline;
mod program;
mod reaper;
mod still;
/// The table that a bench prints, and what it measures with.
pub mod table;
/// The programs that tests run.
pub mod tools;
mod unled;
/// The Python environments of tests.
pub mod venv;

pub use cluster::{Cluster, Core, EMAIL, NODE_TOKEN, ended, registration};
pub use crashing::{Crash, Crashing, Moment};
pub use header::header;
pub use installation::Installation;
pub use load::{Load, Score};
pub use outline::outline;
pub use program::{Ended, Program};
pub use still::StillFleet;
pub use unled::Unled;
