//! What must be true at the end of each case.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use hotswap_core::{
    Clock as _, DeploymentId, Event, EventBody, Fence, Lifecycle, Status, SystemClock,
};
use hotswap_tests::{CrashPoint, CrashTiming, journal_outline};
use serde_json::Value;
use tokio::time::{Duration, Instant};

use crate::case::{Case, Fault};
use crate::gated_fleet::{Accepted, Log};
use crate::lock;

/// What came of a rollout, and by what two are compared.
#[derive(Debug, Clone, PartialEq)]
pub struct RunResult {
    pub status: Status,
    pub outline: Vec<String>,
    /// For each node, the numbers of the calls that it carried out, in order, as its disk has
    /// them. A call that took effect twice would be there twice.
    pub carried_out_calls: Vec<Vec<String>>,
}

impl RunResult {
    /// Checks that the events are legal, with one end and one answer to each call.
    pub fn new(
        events: &[Event],
        module: &str,
        carried_out_calls: Vec<Vec<String>>,
    ) -> Result<Self> {
        // The module's name differs from run to run.
        let outline: Vec<_> = journal_outline(events)
            .into_iter()
            .map(|line| line.replace(module, "MODULE"))
            .collect();
        let shown = outline.join("\n");
        let mut answers: BTreeMap<u32, u32> = BTreeMap::new();
        let mut end_count = 0;
        for (number, event) in events.iter().enumerate() {
            ensure!(event.seq == number as u64, "a gap at {number}:\n{shown}");
            // The engines' own clocks differ by an hour.
            let apart = event.at.millis().abs_diff(SystemClock.now().millis());
            ensure!(
                apart < 1_000_000,
                "another date at {number}: {}",
                event.at.millis()
            );
            match &event.body {
                EventBody::Answered { call, .. } => *answers.entry(*call).or_default() += 1,
                EventBody::Called {
                    call,
                    answer: Some(_),
                    ..
                } => *answers.entry(*call).or_default() += 1,
                EventBody::Ended { .. } => end_count += 1,
                _ => {}
            }
        }
        ensure!(end_count == 1, "{end_count} ends:\n{shown}");
        ensure!(
            answers.values().all(|count| *count == 1),
            "{answers:?}:\n{shown}"
        );
        let folded = hotswap_core::Deployment::fold(events);
        let lifecycle: Lifecycle = folded.context("an illegal journal")?.lifecycle;
        Ok(Self {
            status: lifecycle.status(),
            outline,
            carried_out_calls,
        })
    }

    fn has_reason(&self) -> bool {
        self.outline
            .iter()
            .any(|line| line.starts_with("Reverting"))
    }
}

/// The numbers of the calls of a deployment that a node carried out for a module, in order.
pub fn carried_out_calls(record: &Value, deployment: DeploymentId) -> Result<Vec<String>> {
    let operations = record["operations"].as_array().context("no operations")?;
    let prefix = format!("{deployment}.");
    let ids = operations
        .iter()
        .filter_map(|operation| operation["id"].as_str());
    let calls = ids.filter_map(|id| id.strip_prefix(&prefix).map(str::to_owned));
    Ok(calls.collect())
}

/// Checks that no node has carried out a call twice.
pub fn check_calls(result: &RunResult) -> Result<()> {
    for calls in &result.carried_out_calls {
        let different: BTreeSet<_> = calls.iter().collect();
        ensure!(
            different.len() == calls.len(),
            "an effect happened twice: {calls:?}"
        );
    }
    Ok(())
}

/// Checks that a rollout with a fault ended as without, or was reverted and says why.
pub fn check(case: Case, result: &RunResult, expected: &RunResult) -> Result<()> {
    check_calls(result)?;
    if result == expected {
        return Ok(());
    }
    let shown = result.outline.join("\n");
    let may_revert = matches!(case.fault, Fault::CutOffFromNodes | Fault::CutOffFromBoth);
    ensure!(
        may_revert,
        "it ended otherwise:\n{shown}\n{:?}\nand not as:\n{}\n{:?}",
        result.carried_out_calls,
        expected.outline.join("\n"),
        expected.carried_out_calls
    );
    let is_reverted = matches!(result.status, Status::RolledBack | Status::Failed);
    ensure!(
        result.status == Status::Succeeded || (is_reverted && result.has_reason()),
        "it ended without a reason:\n{shown}"
    );
    Ok(())
}

/// Checks that no two engines had the same fence, and that no node took an order under a fence
/// lower than that of one which it had taken before for the module. Forgets the orders.
pub fn check_orders(log: &Log) -> Result<()> {
    let orders = std::mem::take(&mut *lock(log));
    let mut holders: BTreeMap<Fence, u64> = BTreeMap::new();
    let mut places: BTreeMap<_, Vec<&Accepted>> = BTreeMap::new();
    for order in &orders {
        let holder = *holders.entry(order.fence).or_insert(order.engine);
        ensure!(
            holder == order.engine,
            "engines {holder} and {} have the fence {}",
            order.engine,
            order.fence.0
        );
        let place = (&order.node, &order.module);
        places.entry(place).or_default().push(order);
    }
    for orders in places.values() {
        for earlier in orders {
            let mut orders = orders.iter();
            let interleaved =
                orders.find(|later| later.sent > earlier.answered && later.fence < earlier.fence);
            let Some(later) = interleaved else { continue };
            anyhow::bail!(
                "{} took {} of engine {} after {} of engine {}, under a lower fence",
                later.node,
                later.operation,
                later.engine,
                earlier.operation,
                earlier.engine
            );
        }
    }
    Ok(())
}

fn accepted(began: Instant, engine: u64, fence: u64, [sent, answered]: [u64; 2]) -> Accepted {
    let after = |millis| began + Duration::from_millis(millis);
    Accepted {
        engine,
        node: "production-1".parse().expect("a node id"),
        module: "hello".parse().expect("a module name"),
        operation: format!("sent {sent}"),
        fence: Fence(fence),
        sent: after(sent),
        answered: after(answered),
    }
}

#[test]
fn orders_that_interleave_are_found() {
    let check = |orders: &[Accepted]| check_orders(&Log::new(orders.to_vec().into()));
    let began = Instant::now();
    let accepted = |engine, fence, times| accepted(began, engine, fence, times);
    let (first, second) = (accepted(1, 1, [0, 10]), accepted(2, 2, [20, 30]));
    check(&[first.clone(), second.clone()]).expect("one engine after the other");
    // The node may have taken it before the other one.
    let late_answer = accepted(1, 1, [15, 90]);
    check(&[first.clone(), second.clone(), late_answer]).expect("no order is certain");
    let late = accepted(1, 1, [40, 50]);
    check(&[first.clone(), second.clone(), late]).expect_err("a node took it too late");
    let twin = accepted(2, 1, [20, 30]);
    check(&[first, twin]).expect_err("two engines have one fence");
}

#[test]
fn effects_that_happen_twice_and_ends_without_a_reason_are_found() {
    let result = |status, outline: &[&str], calls: &[&str]| RunResult {
        status,
        outline: outline.iter().map(|&line| line.to_owned()).collect(),
        carried_out_calls: vec![calls.iter().map(|&call| call.to_owned()).collect()],
    };
    let case = |fault| Case {
        fault,
        point: CrashPoint {
            append: 0,
            timing: CrashTiming::BeforeAppend,
        },
    };
    let expected = result(Status::Succeeded, &["ended"], &["1", "2"]);
    let reverted = result(Status::RolledBack, &["Reverting", "ended"], &["1"]);
    let unexplained = result(Status::RolledBack, &["ended"], &["1"]);
    let twice = result(Status::Succeeded, &["ended"], &["1", "2", "2"]);
    check(case(Fault::Killed), &expected, &expected).expect("the same");
    check(case(Fault::CutOffFromNodes), &reverted, &expected).expect("it has a reason");
    check(case(Fault::Killed), &reverted, &expected).expect_err("another engine goes on");
    check(case(Fault::CutOffFromNodes), &unexplained, &expected).expect_err("no reason");
    check(case(Fault::CutOffFromBoth), &twice, &expected).expect_err("an effect twice");
    check(case(Fault::Killed), &twice, &twice).expect_err("an effect twice");
}
