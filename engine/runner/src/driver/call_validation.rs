//! Which calls a plan allows.

use std::collections::HashSet;

use hotswap_core::{Call, Cause, CauseKind, Check, NodeId};

/// Checks a call before it is journaled, so that a strategy cannot touch a node outside its
/// plan.
///
/// # Errors
/// [`CauseKind::Violation`] if no deployment with this plan may make the call.
pub(crate) fn validate(call: &Call, plan: &HashSet<&NodeId>) -> Result<(), Cause> {
    let name = call.name();
    let violation = |what: String| {
        let message = format!("the strategy called {name} {what}");
        Err(Cause::new(CauseKind::Violation, message))
    };
    if let Some(node) = call.named_nodes().find(|node| !plan.contains(node)) {
        return violation(format!("on node '{node}', which is not in its plan"));
    }
    match call {
        Call::Soak { checks, .. } if !checks.iter().all(Check::is_finite) => {
            violation("with a limit that is not a number".to_owned())
        }
        Call::Shift { percent, .. } | Call::Progress { percent, .. } if *percent > 100 => {
            violation(format!("with {percent} %: a percentage is at most 100"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validate_with_plan(call: &Call) -> Result<(), String> {
        let node: NodeId = "a".parse().unwrap();
        validate(call, &HashSet::from([&node])).map_err(|cause| {
            assert_eq!(cause.kind, CauseKind::Violation);
            cause.message
        })
    }

    fn shift(node: &str, percent: u8) -> Call {
        Call::Shift {
            nodes: vec![node.parse().unwrap()],
            percent,
        }
    }

    fn soak(baseline: &str, max: f64) -> Call {
        Call::Soak {
            window: 1000,
            canary: vec!["a".parse().unwrap()],
            baseline: vec![baseline.parse().unwrap()],
            checks: vec![Check {
                metric: "error-rate".into(),
                max: Some(max),
                max_increase: None,
                min_increase: None,
            }],
        }
    }

    #[test]
    fn calls_within_the_plan_are_valid() {
        for call in [shift("a", 100), soak("a", 0.1), Call::Nodes, Call::Now] {
            assert_eq!(validate_with_plan(&call), Ok(()), "{call:?}");
        }
    }

    #[test]
    fn a_node_outside_the_plan_is_a_violation() {
        assert_eq!(
            validate_with_plan(&shift("b", 10)).unwrap_err(),
            "the strategy called fleet.shift on node 'b', which is not in its plan"
        );
        assert_eq!(
            validate_with_plan(&soak("b", 0.1)).unwrap_err(),
            "the strategy called analysis.soak on node 'b', which is not in its plan"
        );
    }

    #[test]
    fn a_percentage_above_100_is_a_violation() {
        let stage = "half".to_owned();
        let progress = Call::Progress {
            stage,
            percent: 101,
        };
        for call in [shift("a", 101), progress] {
            let message = validate_with_plan(&call).unwrap_err();
            let name = call.name();
            assert_eq!(
                message,
                format!("the strategy called {name} with 101 %: a percentage is at most 100")
            );
        }
    }

    #[test]
    fn a_limit_that_a_journal_cannot_hold_is_a_violation() {
        for max in [f64::NAN, f64::INFINITY] {
            assert_eq!(
                validate_with_plan(&soak("a", max)).unwrap_err(),
                "the strategy called analysis.soak with a limit that is not a number"
            );
        }
    }
}
