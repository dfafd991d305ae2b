//! Tests for strategies, without WebAssembly, an engine or nodes.
//!
//! [`ScriptedFleet`] takes the place of the engine. By default every operation succeeds and
//! every soak passes; the script of a test says what goes wrong. Waits take no real time, and
//! every call is recorded. Like the engine, the fleet reverts the nodes when the strategy
//! returns an error.
//!
//! ```
//! use hotswap_sdk::testing::{Operation, ScriptedFleet};
//! use hotswap_sdk::{Control, Fleet, NoConfig, Plan, Result, Strategy};
//!
//! struct OneByOne;
//!
//! impl Strategy for OneByOne {
//!     type Config = NoConfig;
//!     const NAME: &'static str = "one-by-one";
//!     const SUMMARY: &'static str = "Updates one node at a time.";
//!
//!     fn run(plan: &Plan<NoConfig>, fleet: &Fleet, _: &Control) -> Result {
//!         plan.nodes.chunks(1).try_for_each(|node| fleet.deploy(node))
//!     }
//! }
//!
//! let fleet = ScriptedFleet::new(3).unhealthy(Operation::Promote, "node-2", "answered 500");
//! let error = fleet.run::<OneByOne>(NoConfig {}).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "1 of 3 nodes failed: node-2 (unhealthy: answered 500); the policy tolerates 0"
//! );
//! assert_eq!(
//!     fleet.transcript(),
//!     ["stage node-1", "promote node-1", "stage node-2", "promote node-2"]
//! );
//! assert_eq!(fleet.updated(), Vec::<String>::new()); // node-1 was reverted
//! ```

mod call;
mod host;
mod schema;
mod scripted;
#[cfg(test)]
mod tests;

pub use crate::fleet::Operation;
pub use call::Call;
pub use schema::{assert_schema, schema_faults};
pub use scripted::ScriptedFleet;
