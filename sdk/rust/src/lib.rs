//! SDK for deployment strategies of HotSwap.
//!
//! A strategy is ordinary sequential code: it operates on nodes, waits, looks at the results
//! and continues. The engine journals every answer, so a strategy survives a crash of the
//! engine without any code for it. If a strategy returns an error, panics or misses its
//! deadline, the engine reverts every touched node. A strategy never needs clean-up code.
//!
//! # Example
//!
//! A complete strategy and its test. It updates some nodes, compares them with the others, and
//! then updates the others.
//!
//! ```
//! use hotswap_sdk::{Amount, Check, Control, Fleet, Plan, Result, Span, Strategy};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! /// Settings of `pilot`.
//! #[derive(Deserialize, Serialize, JsonSchema)]
//! #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
//! struct Config {
//!     /// How many nodes to update first: a count, or a percentage of all nodes.
//!     first: Amount,
//!     /// How long to measure the first nodes before the others are updated.
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
//!     const SUMMARY: &'static str = "Updates a few nodes, measures them, then updates the rest.";
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
//! // The test runs natively, against a fleet that follows a script.
//! use hotswap_sdk::testing::{Operation, ScriptedFleet};
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
//! let fleet = ScriptedFleet::new(4).unreachable(Operation::Stage, "node-3", "no answer in 10 s");
//! let error = fleet.run::<Pilot>(Config::default()).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "1 of 4 nodes failed: node-3 (unreachable: no answer in 10 s); the policy tolerates 0"
//! );
//! ```
//!
//! To run a strategy, build it as a `cdylib` for `wasm32-unknown-unknown`, make a component of
//! it and upload it. `docs/STRATEGY_GUIDE.md` in the repository explains each step.
//!
//! # Where to begin
//!
//! | to | see |
//! |---|---|
//! | define a strategy and its settings | [`Strategy`], [`register!`], [`NoConfig`], [`Amount`], [`Span`] |
//! | operate on nodes | [`Fleet`], [`Results`], [`Probe`] |
//! | judge the new version | [`Fleet::soak`], [`Check`], [`Verdict`] |
//! | wait, ask a person, report progress | [`Control`], [`Stages`] |
//! | give a reason for a rollback | [`Error`] |
//! | test a strategy | [`testing`] |
//! | find nodes through another kind of registry | [`discovery`] |
//!
//! # Rules
//!
//! - **Be deterministic.** After a crash the engine runs a strategy again from the top, and
//!   compares each call with the journal. Use only the plan and the answers to calls to make
//!   decisions: no clock except [`Control::now`], no random numbers, no global state.
//! - **Import nothing else.** The engine rejects a component that imports anything but the
//!   interfaces of the contract. Built for `wasm32-unknown-unknown`, a strategy cannot.
//! - **Return one sentence.** People read the error that [`Strategy::run`] returns as the
//!   reason of the rollback. The errors of this crate name the nodes, checks and values.

mod amount;
#[doc(hidden)]
pub mod bindings;
mod check;
mod control;
pub mod discovery;
mod error;
mod fleet;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
mod host;
mod node;
mod plan;
mod probe;
mod query;
mod results;
mod span;
mod stages;
mod strategy;
mod synthetic_probes;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod verdict;

pub use amount::Amount;
pub use check::{Check, Metric, NamedMetric};
pub use control::{Control, Decision, Level};
pub use error::{Error, Result};
pub use fleet::{Fleet, Operation};
pub use host::Host;
pub use node::{Health, ModuleVersion, Node, NodeError, NodeResult};
pub use plan::Plan;
pub use probe::Probe;
pub use query::Query;
pub use results::Results;
pub use span::Span;
pub use stages::Stages;
pub use strategy::{Descriptor, NoConfig, Registered, Strategy, describe};
pub use synthetic_probes::SyntheticProbes;
pub use verdict::{Finding, Judgement, Verdict};
