//! A strategy that makes as many calls as its configuration says: benches measure with it
//! what a call costs.

use hotswap_sdk::bindings::hotswap::strategy::{control, fleet};
use hotswap_sdk::{Control, Fleet, Plan, Result, Strategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `steps` does.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// How many calls.
    pub steps: u64,
    /// Which call.
    pub kind: Kind,
    /// How long each sleep is, in milliseconds.
    pub sleep: u64,
}

/// The calls that it can make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Stage no node at all: a durable write that does nothing.
    #[default]
    Stage,
    /// Stage all nodes of the plan.
    StageAll,
    /// Sleep.
    Sleep,
    /// Ask for the time: a read.
    Now,
    /// Log a short line: a note.
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

/// See the crate.
#[derive(Debug)]
pub struct Steps;

impl Strategy for Steps {
    type Config = Config;
    const NAME: &'static str = "steps";
    const SUMMARY: &'static str = "Makes many calls; for benches.";

    fn run(plan: &Plan<Config>, all: &Fleet, _: &Control) -> Result {
        // The SDK spares the engine a call that does nothing, which is the one to measure.
        for _ in 0..plan.config.steps {
            match plan.config.kind {
                Kind::Stage => {
                    fleet::stage(&[]);
                }
                Kind::StageAll => all.stage(&plan.nodes).all()?,
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
