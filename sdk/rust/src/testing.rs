//! Test strategies natively, in no time: a fleet that follows a script.
//!
//! [`ScriptedFleet`] stands in for the engine. Nodes do what they are asked unless the
//! script says otherwise, soaks pass, time flies, and every call is written down.
//! Like the engine it puts touched nodes back when the strategy returns an error.
//!
//! ```
//! use hotswap_sdk::testing::{Act, ScriptedFleet};
//! use hotswap_sdk::{Control, Fleet, NoConfig, Plan, Result, Strategy};
//!
//! struct OneByOne;
//!
//! impl Strategy for OneByOne {
//!     type Config = NoConfig;
//!     const NAME: &'static str = "one-by-one";
//!     const SUMMARY: &'static str = "Node after node.";
//!
//!     fn run(plan: &Plan<NoConfig>, fleet: &Fleet, _: &Control) -> Result {
//!         plan.nodes.chunks(1).try_for_each(|node| fleet.deploy(node))
//!     }
//! }
//!
//! let fleet = ScriptedFleet::new(3).unhealthy(Act::Promote, "node-2", "answered 500");
//! let error = fleet.run::<OneByOne>(NoConfig {}).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "node-2 could not promote the new version: unhealthy: answered 500"
//! );
//! assert_eq!(
//!     fleet.transcript(),
//!     ["stage node-1", "promote node-1", "stage node-2", "promote node-2"]
//! );
//! assert_eq!(fleet.updated(), Vec::<String>::new()); // node-1 was put back
//! ```

mod call;
mod host;
mod schema;
mod scripted;
#[cfg(test)]
mod tests;

pub use crate::fleet::Act;
pub use call::Call;
pub use schema::{assert_schema, schema_faults};
pub use scripted::ScriptedFleet;
