//! A strategy that makes the calls that its configuration lists. Tests use it to try strategies
//! that nobody would write.

use hotswap_sdk::{Control, Error, Fleet, Plan, Result, Span, Strategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of `scripted`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The calls, in their order.
    pub calls: Vec<ScriptedCall>,
    /// Whether the strategy goes on after a node has failed.
    pub goes_on: bool,
    /// How it ends.
    pub end: End,
}

/// A call of the script.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScriptedCall {
    /// What to do.
    pub kind: Kind,
    /// On which nodes: their places in the plan, from 0. The plan may have fewer.
    #[serde(default)]
    pub nodes: Vec<usize>,
}

/// A call that `scripted` can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Stage the nodes.
    Stage,
    /// Send half of their requests to the staged version.
    Shift,
    /// Promote the nodes.
    Promote,
    /// Revert the nodes.
    Revert,
    /// List the nodes of the plan.
    Nodes,
    /// Wait for a millisecond.
    Sleep,
}

/// How `scripted` ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Successfully.
    #[default]
    Ok,
    /// With an error.
    Error,
    /// It crashes.
    Trap,
}

/// The `scripted` strategy.
#[derive(Debug)]
pub struct Scripted;

impl Strategy for Scripted {
    type Config = Config;
    const NAME: &'static str = "scripted";
    const SUMMARY: &'static str = "Makes the calls that its configuration lists, for tests.";

    fn run(plan: &Plan<Config>, fleet: &Fleet, control: &Control) -> Result {
        for call in &plan.config.calls {
            let nodes = call.nodes.iter().filter_map(|place| plan.nodes.get(*place));
            let nodes: Vec<_> = nodes.collect();
            let results = match call.kind {
                Kind::Stage => fleet.stage(&nodes),
                Kind::Shift => fleet.shift(&nodes, 50),
                Kind::Promote => fleet.promote(&nodes),
                Kind::Revert => fleet.revert(&nodes),
                Kind::Nodes => {
                    let _ = fleet.nodes();
                    continue;
                }
                Kind::Sleep => {
                    control.sleep(Span::millis(1));
                    continue;
                }
            };
            if !plan.config.goes_on {
                results.all()?;
            }
        }
        match plan.config.end {
            End::Ok => Ok(()),
            End::Error => Err(Error::Message("it gives up".to_owned())),
            End::Trap => panic!("it crashes"),
        }
    }
}

hotswap_sdk::register!(Scripted);
