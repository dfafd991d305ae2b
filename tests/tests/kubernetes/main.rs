//! The Helm chart: rendered and checked without a cluster, and installed on a real node.
//!
//! What needs the node is ignored here: `cargo xtask kubernetes` builds it and runs the rest.

mod admission;
mod alerts;
mod collector;
mod dockerfile;
mod documentation;
mod groups;
mod guards;
mod limits;
mod load;
mod manifests;
mod network;
mod proofs;
mod redis;
mod release;
mod renderer;
mod routing;
mod schema;
mod series;
mod store;
mod subchart;
mod upgrades;
