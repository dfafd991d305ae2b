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

/// Four conditions share 1 %: a fresh first soak needs 800, as a first check alone 200.
#[test]
fn all_conditions_share_the_budget() {
    let checks = vec![
        max_increase("error-rate", 0.5),
        max_increase("latency-p95", 1.0),
        max_increase("cpu", 0.3),
        max_increase("memory", 0.3),
    ];
    let needed = |checks| {
        let mut judge = start_judge(checks);
        for _ in 0..3 {
            judge.observe(&reading(requests(40, 1), requests(400, 0)));
        }
        let condition = &judge.verdict().findings[0].conditions[0];
        (condition.threshold - condition.earlier).exp().round()
    };
    assert_eq!(needed(checks.clone()), 800.0);
    assert_eq!(needed(checks[..1].to_vec()), 200.0);
}
