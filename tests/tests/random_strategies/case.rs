//! What happens in a random case.

use std::collections::BTreeSet;
use std::time::Duration;

use hotswap_core::{Amount, Environment, Policy};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

/// What happens to an order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// The node refuses it.
    Refused,
    /// It never arrives.
    Lost,
    /// It is carried out, but its answer never arrives.
    AnswerLost,
    /// The node dies before it.
    Dies,
    /// The node carries it out, says so, and dies.
    DiesAfter,
    /// The node carries it out, says so, and loses its disk.
    LosesDisk,
}

/// A fleet, its policy, and what happens to it.
#[derive(Debug, Clone)]
pub struct Case {
    /// For each node, what it runs before, if nothing is decided: none, 0.9.0 or 1.0.0. Its
    /// length is the number of nodes.
    pub before: Vec<Option<bool>>,
    /// Whether 1.0.0 has been rolled out to all nodes.
    pub is_decided: bool,
    pub max_unavailable: Amount,
    pub tolerated: Amount,
    /// For each node, whether it is cordoned before the rollout, and drained.
    pub cordons: Vec<Option<bool>>,
    /// For each node, what happens to its first orders.
    pub faults: Vec<Vec<Option<Fault>>>,
    /// The configuration of the strategy `scripted`.
    pub calls: Vec<(usize, Vec<usize>)>,
    pub goes_on: bool,
    pub end: usize,
}

const KINDS: [&str; 6] = ["stage", "promote", "shift", "revert", "nodes", "sleep"];
const ENDS: [&str; 4] = ["ok", "ok", "error", "trap"];

pub fn any_case() -> impl Strategy<Value = Case> {
    let fault = prop_oneof![
        12 => Just(None),
        2 => Just(Some(Fault::Refused)),
        1 => Just(Some(Fault::Lost)),
        1 => Just(Some(Fault::AnswerLost)),
        1 => Just(Some(Fault::Dies)),
        1 => Just(Some(Fault::DiesAfter)),
        1 => Just(Some(Fault::LosesDisk)),
    ];
    (2_usize..=6).prop_flat_map(move |nodes| {
        // Mostly what a rollout needs, on any nodes in any order.
        let kind = prop_oneof![6 => 0_usize..2, 1 => 2_usize..KINDS.len()];
        let call = (kind, vec(0..nodes, 1..=nodes));
        let whole: Vec<usize> = (0..nodes).collect();
        let rollout = Just(vec![(0, whole.clone()), (1, whole)]);
        let calls = prop_oneof![vec(call.clone(), 1..10), rollout];
        (
            vec(proptest::option::of(any::<bool>()), nodes),
            any::<bool>(),
            (amount(1..=nodes, nodes), amount(0..=nodes / 2, nodes)),
            vec(proptest::option::weighted(0.1, any::<bool>()), nodes),
            vec(vec(fault.clone(), 0..6), nodes),
            calls,
            any::<bool>(),
            0..ENDS.len(),
        )
            .prop_map(
                |(before, is_decided, policy, cordons, faults, calls, goes_on, end)| Case {
                    before,
                    is_decided,
                    max_unavailable: policy.0,
                    tolerated: policy.1,
                    cordons,
                    faults,
                    calls,
                    goes_on,
                    end,
                },
            )
    })
}

/// A number of nodes, or the share that they are of all.
fn amount(counts: std::ops::RangeInclusive<usize>, nodes: usize) -> impl Strategy<Value = Amount> {
    (counts, any::<bool>()).prop_map(move |(count, is_share)| {
        let number = if is_share { count * 100 / nodes } else { count };
        let number = u8::try_from(number).expect("few nodes");
        match is_share {
            true => Amount::Percent(number),
            false => Amount::Count(number.into()),
        }
    })
}

impl Case {
    pub fn config(&self) -> Value {
        let calls = self.calls.iter().map(|(kind, nodes)| {
            let nodes: BTreeSet<_> = nodes.iter().collect();
            json!({ "kind": KINDS[*kind], "nodes": nodes })
        });
        json!({
            "calls": calls.collect::<Vec<_>>(),
            "goesOn": self.goes_on,
            "end": ENDS[self.end],
        })
    }

    pub fn policy(&self, environment: &Environment) -> Policy {
        Policy {
            max_unavailable: self.max_unavailable,
            tolerated_failures: self.tolerated,
            max_missing: Amount::Percent(100),
            revert_patience: Duration::from_millis(200),
            ..Policy::default_for(environment)
        }
    }
}
