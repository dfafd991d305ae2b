//! What the end-to-end tests and benches share: a whole HotSwap in one process
//! ([`Cluster`]: engine, API, nodes, each with its own sockets and disk), clients that
//! keep asking ([`Load`]), and a store that stops the engine at any append ([`Crashing`]).

mod cluster;
mod crashing;
mod load;
mod outline;
mod still;
/// The table that a bench prints, and what it measures with.
pub mod table;

pub use cluster::{Cluster, Core, EMAIL, NODE_TOKEN, ended, registration};
pub use crashing::{Crash, Crashing, Moment};
pub use load::{Load, Score};
pub use outline::outline;
pub use still::StillFleet;
