use super::fixture::*;
use crate::{Answer, Judge, Judgement, SoakHistory, SoakPlan};

/// A fault of little traffic that no soak alone would find: evidence carries over.
#[test]
fn evidence_of_earlier_soaks_counts() {
    let mut history = SoakHistory::default();
    let mut judgements = Vec::new();
    for _ in 0..3 {
        let mut judge = Judge::new(SoakPlan {
            checks: vec![max_increase("error-rate", 0.5)],
            has_baseline: true,
            history: history.clone(),
            ..SoakPlan::default()
        });
        for _ in 0..3 {
            judge.observe(&reading(requests(40, 1), requests(400, 0)));
        }
        let verdict = judge.verdict();
        judgements.push(verdict.judgement);
        history.record(&Answer::Verdict(verdict));
    }
    assert_ne!(judgements[0], Judgement::Fail);
    assert_eq!(judgements[2], Judgement::Fail, "{judgements:?}");
}

/// Four conditions share 1 %, half of which is for errors: a fresh first soak needs 400 there and
/// 1,200 elsewhere, and 200 where one check has it all.
#[test]
fn all_conditions_share_the_budget() {
    let checks = vec![
        max_increase("error-rate", 0.5),
        max_increase("latency-p95", 1.0),
        max_increase("cpu", 0.3),
        max_increase("memory", 0.3),
    ];
    let needed = |checks, check: usize| {
        let mut judge = start_judge(checks);
        for _ in 0..3 {
            judge.observe(&reading(requests(40, 1), requests(400, 0)));
        }
        let condition = &judge.verdict().findings[check].conditions[0];
        (condition.threshold - condition.earlier).exp().round()
    };
    assert_eq!(needed(checks.clone(), 0), 400.0);
    assert_eq!(needed(checks.clone(), 1), 1200.0);
    assert_eq!(needed(checks[..1].to_vec(), 0), 200.0);
    assert_eq!(needed(checks[1..2].to_vec(), 0), 200.0);
}
