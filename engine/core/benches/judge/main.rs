//! How often the judge takes back a good version, and how soon a bad one, in whole deployments of
//! random traffic: `DEPLOYMENTS=1000 cargo bench -p hotswap-core --bench judge`. Beside it, on the
//! same traffic, the rules of other tools. `SEED` repeats a run, `ONLY` runs the scenarios whose
//! name contains it.
//!
//! A deployment updates one, three and five of ten nodes, and soaks after each step. A soak has 40
//! readings. The last step, of all nodes, has nothing to compare with.

mod cost;
mod deployment;
mod others;
mod random;
mod scenario;

use std::collections::BTreeMap;

use deployment::{Outcome, deploy};
use random::Random;
use scenario::{Kind, scenarios};

/// The names of the rules that are compared.
const RULES: [&str; 4] = ["HotSwap", "Kayenta", "Argo Rollouts", "Flagger"];

fn main() {
    let number = |name: &str, default: u64| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (deployments, seed) = (number("DEPLOYMENTS", 100), number("SEED", 1));
    let only = std::env::var("ONLY").unwrap_or_default();
    cost::print();
    println!(
        "\nShare of {deployments} deployments that are taken back, and the median of the canary's \
         requests until then"
    );
    println!("| scenario | {} | HotSwap, by check |", RULES.join(" | "));
    println!("|---|{}", "---|".repeat(RULES.len() + 1));
    for (index, scenario) in scenarios().into_iter().enumerate() {
        if !scenario.name.contains(&only) {
            continue;
        }
        let mut random = Random::new(seed.wrapping_add(index as u64));
        let mut outcomes: [Vec<Outcome>; RULES.len()] = Default::default();
        let mut by_check: BTreeMap<String, u64> = BTreeMap::new();
        for _ in 0..deployments {
            let (found, failed) = deploy(&mut random, &scenario);
            if let Some(failed) = failed {
                *by_check.entry(failed).or_default() += 1;
            }
            for (all, one) in outcomes.iter_mut().zip(found) {
                all.push(one);
            }
        }
        let told: Vec<_> = outcomes
            .into_iter()
            .map(|outcomes| describe(outcomes, scenario.kind))
            .collect();
        let by_check: Vec<_> = by_check
            .into_iter()
            .map(|(check, count)| format!("{check} {count}"))
            .collect();
        println!(
            "| {} | {} | {} |",
            scenario.name,
            told.join(" | "),
            by_check.join(", ")
        );
    }
}

/// `0.2 %`, `100 %, 450`.
fn describe(outcomes: Vec<Outcome>, kind: Kind) -> String {
    let total = outcomes.len() as f64;
    let mut found: Vec<u64> = outcomes.into_iter().flatten().collect();
    found.sort_unstable();
    let share = format!("{:.1} %", 100.0 * found.len() as f64 / total);
    match found.get(found.len() / 2) {
        Some(median) if kind == Kind::Bad => format!("{share}, {median}"),
        _ => share,
    }
}
