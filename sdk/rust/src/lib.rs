//! Write deployment strategies for HotSwap.
//!
//! A strategy is ordinary sequential code: it acts on the fleet, waits, looks at the
//! result and goes on. The engine journals every answer, so the code is durable
//! without knowing it, and puts every touched node back if it returns an error,
//! panics or runs past its deadline. There is no clean-up to write.
//!
//! This is a whole one. It updates a first part of the fleet, watches it next to
//! the rest, and updates the rest.
//!
//! ```
//! use hotswap_sdk::{Amount, Check, Control, Fleet, Plan, Result, Span, Strategy};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! /// How `pilot` rolls out.
//! #[derive(Deserialize, Serialize, JsonSchema)]
//! #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
//! struct Config {
//!     /// Nodes that go first: a count, or a percentage of all.
//!     first: Amount,
//!     /// How long they are watched before the rest follows.
//!     watch: Span,
//! }
//!
//! impl Default for Config {
//!     fn default() -> Self {
//!         Self { first: Amount::percent(25), watch: Span::mins(5) }
//!     }
//! }
//!
//! struct Pilot;
//!
//! impl Strategy for Pilot {
//!     type Config = Config;
//!     const NAME: &'static str = "pilot";
//!     const SUMMARY: &'static str = "A few nodes first, then the rest.";
//!
//!     fn run(plan: &Plan<Config>, fleet: &Fleet, control: &Control) -> Result {
//!         let (first, rest) = plan.config.first.split(&plan.nodes);
//!         control.progress("first nodes", 0);
//!         fleet.deploy(first)?;
//!         let checks = [Check::error_rate().max_increase(0.5)];
//!         fleet.soak(plan.config.watch, first, rest, &checks).unless_failed()?;
//!         control.progress("the rest", 50);
//!         fleet.deploy(rest)
//!     }
//! }
//!
//! hotswap_sdk::register!(Pilot);
//!
//! // And its test, which needs no WebAssembly: a fleet that follows a script.
//! use hotswap_sdk::testing::{Act, ScriptedFleet};
//!
//! let fleet = ScriptedFleet::new(4);
//! fleet.run::<Pilot>(Config::default()).unwrap();
//! assert_eq!(
//!     fleet.transcript(),
//!     [
//!         "stage node-1",
//!         "promote node-1",
//!         "soak 5m: node-1 against node-2 node-3 node-4",
//!         "stage node-2 node-3 node-4",
//!         "promote node-2 node-3 node-4",
//!     ]
//! );
//!
//! let fleet = ScriptedFleet::new(4).unreachable(Act::Stage, "node-3", "no answer in 10 s");
//! let error = fleet.run::<Pilot>(Config::default()).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "node-3 could not stage the new version: unreachable: no answer in 10 s"
//! );
//! ```
//!
//! Build it as a `cdylib` for `wasm32-unknown-unknown` and make a component of it;
//! the strategy guide in the repository's `docs/` goes through all the steps.
//!
//! # Rules
//!
//! - **Deterministic.** The engine replays a strategy from the top after a crash and
//!   compares each call with the journal. Decide by the plan and by answers alone:
//!   no clock but [`Control::now`], no random numbers, no global state.
//! - **Sealed in.** A component that imports anything but the strategy interfaces is
//!   refused when it is uploaded. On `wasm32-unknown-unknown` nothing else gets in.
//! - **One sentence.** The error that [`Strategy::run`] returns is what people see as
//!   the reason of the rollback. Errors of this crate name nodes, checks and figures.

mod amount;
#[doc(hidden)]
pub mod bindings;
mod check;
mod control;
mod error;
mod fleet;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
mod host;
mod node;
mod plan;
mod probe;
mod results;
mod span;
mod stages;
mod strategy;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod verdict;

pub use amount::Amount;
pub use check::{Check, Metric};
pub use control::{Control, Decision, Level};
pub use error::{Error, Result};
pub use fleet::{Act, Fleet};
pub use host::Host;
pub use node::{Health, ModuleVersion, Node, NodeError, NodeResult};
pub use plan::Plan;
pub use probe::Probe;
pub use results::Results;
pub use span::Span;
pub use stages::Stages;
pub use strategy::{Descriptor, NoConfig, Registered, Strategy, describe};
pub use verdict::{Finding, Judgement, Verdict};
