//! How often the judge takes back a good version, and how soon a bad one, in whole deployments of
//! random traffic: `DEPLOYMENTS=1000 cargo bench -p hotswap-core --bench judge`. Beside it, on the
//! same traffic, the rules of other tools. `SEED` repeats a run, `ONLY` runs the scenarios whose
//! name contains it.
//!
//! A deployment updates one, three and five of ten nodes, or so much of a smaller fleet or of the
//! requests of each node, and soaks after each step. A soak has 40 readings. The last step, of all
//! nodes, has nothing to compare with. A good version may be taken back in 1 % of deployments, and
//! most bad ones have a bound of their own.

mod cost;
mod deployment;
mod node;
mod others;
mod random;
mod scenario;

use std::collections::BTreeMap;
use std::process::ExitCode;

use statrs::distribution::{Binomial, DiscreteCDF};

use deployment::{Outcome, deploy};
use random::Random;
use scenario::{Kind, scenarios};

/// The names of the rules that are compared.
const RULES: [&str; 4] = ["HotSwap", "Kayenta", "Argo Rollouts", "Flagger"];

/// The share of good versions that may be taken back.
const PROMISE: f64 = 0.01;
/// More are a miss where chance would do that less often than this.
const CHANCE: f64 = 0.01;

fn main() -> ExitCode {
    let number = |name: &str, default: u64| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (deployments, seed) = (number("DEPLOYMENTS", 1000), number("SEED", 1));
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut missed = u32::from(!cost::is_met());
    println!(
        "\nShare of {deployments} deployments of good and {} of bad versions that are taken back, \
         and the median of the canary's requests until then; seed {seed}",
        of_bad(deployments)
    );
    println!(
        "| scenario | {} | promise | HotSwap, by check |",
        RULES.join(" | ")
    );
    println!("|---|{}", "---|".repeat(RULES.len() + 2));
    for (index, scenario) in scenarios().into_iter().enumerate() {
        if !scenario.name.contains(&only) {
            continue;
        }
        let mut random = Random::new(seed.wrapping_mul(1000).wrapping_add(index as u64));
        let mut outcomes: [Vec<Outcome>; RULES.len()] = Default::default();
        let mut by_check: BTreeMap<String, u64> = BTreeMap::new();
        let count = if scenario.kind.is_bad() {
            of_bad(deployments)
        } else {
            deployments
        };
        for _ in 0..count {
            let (found, failed) = deploy(&mut random, &scenario);
            if let Some(failed) = failed {
                *by_check.entry(failed).or_default() += 1;
            }
            for (all, one) in outcomes.iter_mut().zip(found) {
                all.push(one);
            }
        }
        let taken_back = outcomes[0].iter().flatten().count() as u64;
        let promise = match scenario.kind {
            Kind::Good if is_beyond_chance(taken_back, count) => {
                missed += 1;
                "MISSED"
            }
            Kind::Good => "met",
            Kind::Outside => "outside",
            Kind::Bad { found: 0, .. } => "",
            Kind::Bad { found, within } if is_late(&outcomes[0], found, within) => {
                missed += 1;
                "MISSED"
            }
            Kind::Bad { .. } => "met",
        };
        let told: Vec<_> = outcomes
            .into_iter()
            .map(|outcomes| describe(outcomes, scenario.kind))
            .collect();
        let by_check: Vec<_> = by_check
            .into_iter()
            .map(|(check, count)| format!("{check} {count}"))
            .collect();
        println!(
            "| {} | {} | {promise} | {} |",
            scenario.name,
            told.join(" | "),
            by_check.join(", ")
        );
    }
    if missed > 0 {
        println!("\nMISSED: {missed}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Bad versions are found often, so fewer deployments tell how often.
fn of_bad(deployments: u64) -> u64 {
    (deployments * 3 / 10).max(1)
}

/// Whether so many of so many are more than [`PROMISE`], which chance does not explain.
fn is_beyond_chance(taken_back: u64, deployments: u64) -> bool {
    let Some(fewer) = taken_back.checked_sub(1) else {
        return false;
    };
    Binomial::new(PROMISE, deployments).is_ok_and(|kept| kept.sf(fewer) < CHANCE)
}

/// Whether fewer deployments were found than this share in percent, beyond chance, or half of those
/// found took longer than that.
fn is_late(outcomes: &[Outcome], found: u8, within: u64) -> bool {
    let taken_back = outcomes.iter().flatten();
    let share = f64::from(found) / 100.0;
    let is_rare = Binomial::new(share, outcomes.len() as u64)
        .is_ok_and(|promised| promised.cdf(taken_back.clone().count() as u64) < CHANCE);
    let late = taken_back.clone().filter(|requests| **requests > within);
    is_rare || 2 * late.count() > taken_back.count()
}

/// `0.2 %`, `100 %, 450`.
fn describe(outcomes: Vec<Outcome>, kind: Kind) -> String {
    let total = outcomes.len() as f64;
    let mut found: Vec<u64> = outcomes.into_iter().flatten().collect();
    found.sort_unstable();
    let share = format!("{:.1} %", 100.0 * found.len() as f64 / total);
    match found.get(found.len() / 2) {
        Some(median) if kind.is_bad() => format!("{share}, {median}"),
        _ => share,
    }
}
