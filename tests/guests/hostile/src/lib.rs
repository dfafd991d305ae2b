//! A strategy that misbehaves, in the way that its configuration names: what the engine
//! promises about strategies is tested with it.

use std::hint::black_box;

use hotswap_sdk::bindings::hotswap::strategy::control::{Level, log};
use hotswap_sdk::{Control, Fleet, Plan, Result, Strategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the flood comes to, in bytes.
const FLOOD: usize = 10 << 20;

/// A line of the flood: as much as the contract allows.
const LINE: usize = 8 << 10;

/// How `hostile` misbehaves.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// What it does.
    pub attack: Attack,
}

/// Ways to misbehave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// None at all.
    #[default]
    Nothing,
    /// Compute for ever, without a call.
    EndlessLoop,
    /// Ask for the time, for ever.
    EndlessCalls,
    /// Take memory until there is none.
    MemoryBomb,
    /// Call itself until there is no stack.
    StackOverflow,
    /// Panic, with a text.
    Panic,
    /// Stage a node that is not in the plan.
    ForeignNode,
    /// Stage what is no name of a node.
    NoNode,
    /// Log 10 MiB as one line.
    LogFloodAtOnce,
    /// Log 10 MiB as many lines.
    LogFloodInLines,
    /// Send 200 % of the requests to the new version.
    #[serde(rename = "percent-200")]
    Percent200,
    /// Stage the first node. With `replay-b` it is one strategy that asks something else
    /// when it runs again: a component has no source of chance by which it could do so by
    /// itself, so a test gives the second run the other variant.
    ReplayA,
    /// Stage the last node.
    ReplayB,
    /// Update all nodes, then compute for ever.
    TouchThenLoop,
    /// Update all nodes, then panic.
    TouchThenPanic,
}

/// See the crate.
#[derive(Debug)]
pub struct Hostile;

impl Strategy for Hostile {
    type Config = Config;
    const NAME: &'static str = "hostile";
    const SUMMARY: &'static str = "Misbehaves as it is told; for tests.";

    fn run(plan: &Plan<Config>, fleet: &Fleet, control: &Control) -> Result {
        match plan.config.attack {
            Attack::Nothing => {}
            Attack::EndlessLoop => compute_for_ever(),
            Attack::EndlessCalls => loop {
                black_box(control.now());
            },
            Attack::MemoryBomb => take_memory(),
            Attack::StackOverflow => {
                black_box(descend(plan.nodes.len() as u64));
            }
            Attack::Panic => panic!("there is no plan B"),
            Attack::ForeignNode => {
                fleet.stage(&["somewhere-else"]).all()?;
            }
            Attack::NoNode => {
                fleet.stage(&["../node-1"]).all()?;
            }
            Attack::LogFloodAtOnce => log(Level::Info, &"x".repeat(FLOOD)),
            Attack::LogFloodInLines => {
                let line = "x".repeat(LINE);
                for _ in 0..FLOOD / LINE {
                    log(Level::Info, &line);
                }
            }
            Attack::Percent200 => {
                fleet.stage(&plan.nodes).all()?;
                fleet.shift(&plan.nodes, 200).all()?;
            }
            Attack::ReplayA => fleet.deploy(&plan.nodes[..1])?,
            Attack::ReplayB => fleet.deploy(&plan.nodes[plan.nodes.len() - 1..])?,
            Attack::TouchThenLoop => {
                fleet.deploy(&plan.nodes)?;
                compute_for_ever();
            }
            Attack::TouchThenPanic => {
                fleet.deploy(&plan.nodes)?;
                panic!("with every node touched");
            }
        }
        Ok(())
    }
}

fn compute_for_ever() {
    let mut n = 0_u64;
    loop {
        n = black_box(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

fn take_memory() {
    let mut taken = Vec::new();
    loop {
        taken.push(black_box(vec![1_u8; 1 << 20]));
    }
}

fn descend(n: u64) -> u64 {
    if black_box(n) == u64::MAX {
        return n;
    }
    black_box(descend(n + 1)) ^ n
}

hotswap_sdk::register!(Hostile);
