//! A strategy that makes as many calls as its configuration says. Benchmarks use it to measure
//! what a call costs.

use hotswap_sdk::bindings::hotswap::strategy::{control, fleet};
use hotswap_sdk::{Control, Fleet, Plan, Result, Strategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of `steps`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// How many calls to make.
    pub steps: u64,
    /// Which call to make.
    pub kind: Kind,
    /// How long each sleep lasts, in milliseconds.
    pub sleep: u64,
}

/// A call that `steps` can make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Stage an empty list of nodes: a durable write without an effect.
    #[default]
    Stage,
    /// Stage all nodes of the plan.
    StageAll,
    /// Sleep.
    Sleep,
    /// Read the clock: a journaled read.
    Now,
    /// Log a short line: a journaled note without an answer.
    Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 1,
            kind: Kind::Stage,
            sleep: 0,
        }
    }
}

/// The `steps` strategy.
#[derive(Debug)]
pub struct Steps;

impl Strategy for Steps {
    type Config = Config;
    const NAME: &'static str = "steps";
    const SUMMARY: &'static str = "Makes many calls, for benchmarks.";

    fn run(plan: &Plan<Config>, sdk_fleet: &Fleet, _: &Control) -> Result {
        // Uses the raw bindings, because the SDK omits calls that have no effect, and those
        // are what benchmarks measure.
        for _ in 0..plan.config.steps {
            match plan.config.kind {
                Kind::Stage => {
                    fleet::stage(&[]);
                }
                Kind::StageAll => sdk_fleet.stage(&plan.nodes).all()?,
                Kind::Sleep => control::sleep(plan.config.sleep),
                Kind::Now => {
                    control::now();
                }
                Kind::Log => control::log(control::Level::Info, "a step"),
            }
        }
        Ok(())
    }
}

hotswap_sdk::register!(Steps);
