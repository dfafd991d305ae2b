//! A strategy that misbehaves in the way that its configuration names. Tests use it to check
//! that the engine contains hostile strategies.

use std::hint::black_box;

use hotswap_sdk::bindings::hotswap::strategy::control::{Level, log};
use hotswap_sdk::{Control, Fleet, Plan, Result, Strategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bytes of a log flood in total.
const FLOOD_BYTES: usize = 10 << 20;

/// Bytes of one line of a log flood: as many as the contract allows.
const LINE_BYTES: usize = 8 << 10;

/// Settings of `hostile`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// How it misbehaves.
    pub attack: Attack,
}

/// Ways to misbehave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// Do nothing.
    #[default]
    Nothing,
    /// Compute forever, without a call.
    EndlessLoop,
    /// Call `control.now` forever.
    EndlessCalls,
    /// Call `fleet.nodes` forever.
    EndlessLists,
    /// Allocate memory until there is none left.
    MemoryBomb,
    /// Recurse until the stack overflows.
    StackOverflow,
    /// Panic with a message.
    Panic,
    /// Stage a node that is not in the plan.
    ForeignNode,
    /// Stage a node with an invalid id.
    NoNode,
    /// Log 10 MiB as one line.
    LogFloodAtOnce,
    /// Log 10 MiB as many lines.
    LogFloodInLines,
    /// Send 200 % of the requests to the new version.
    #[serde(rename = "percent-200")]
    Percent200,
    /// Update the first node. A component has no source of randomness, so it cannot make
    /// other calls on a replay by itself. A test imitates that by giving the second run
    /// `replay-b`.
    ReplayA,
    /// Update the last node.
    ReplayB,
    /// Update all nodes, then compute forever.
    TouchThenLoop,
    /// Update all nodes, then panic.
    TouchThenPanic,
}

/// The `hostile` strategy.
#[derive(Debug)]
pub struct Hostile;

impl Strategy for Hostile {
    type Config = Config;
    const NAME: &'static str = "hostile";
    const SUMMARY: &'static str = "Misbehaves as configured, for tests.";

    fn run(plan: &Plan<Config>, fleet: &Fleet, control: &Control) -> Result {
        match plan.config.attack {
            Attack::Nothing => {}
            Attack::EndlessLoop => compute_forever(),
            Attack::EndlessCalls => loop {
                black_box(control.now());
            },
            Attack::EndlessLists => loop {
                black_box(fleet.nodes());
            },
            Attack::MemoryBomb => exhaust_memory(),
            Attack::StackOverflow => {
                black_box(recurse(plan.nodes.len() as u64));
            }
            Attack::Panic => panic!("there is no plan B"),
            Attack::ForeignNode => {
                fleet.stage(&["somewhere-else"]).all()?;
            }
            Attack::NoNode => {
                fleet.stage(&["../node-1"]).all()?;
            }
            Attack::LogFloodAtOnce => log(Level::Info, &"x".repeat(FLOOD_BYTES)),
            Attack::LogFloodInLines => {
                let line = "x".repeat(LINE_BYTES);
                for _ in 0..FLOOD_BYTES / LINE_BYTES {
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
                compute_forever();
            }
            Attack::TouchThenPanic => {
                fleet.deploy(&plan.nodes)?;
                panic!("after touching every node");
            }
        }
        Ok(())
    }
}

fn compute_forever() {
    let mut n = 0_u64;
    loop {
        n = black_box(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

fn exhaust_memory() {
    let mut allocations = Vec::new();
    loop {
        allocations.push(black_box(vec![1_u8; 1 << 20]));
    }
}

fn recurse(n: u64) -> u64 {
    if black_box(n) == u64::MAX {
        return n;
    }
    black_box(recurse(n + 1)) ^ n
}

hotswap_sdk::register!(Hostile);
