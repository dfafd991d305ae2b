//! Judges gauges against their limits.

use crate::{ConditionKind, Judgement};

use super::budget::Budget;
use super::gauge::{GaugeTest, Gauges};
use super::limits::CheckLimits;
use super::metric::Metric;
use super::outcome::{Evidence, Measured, Tested, Traffic};
use super::{Look, format};

/// Nodes get no more by waiting.
const NO_TRAFFIC: Traffic = Traffic {
    requests: 0.0,
    seconds: 0.0,
};

/// Tests each condition of a check of a gauge. Only the last look fails.
pub(super) fn test(
    gauges: &Gauges,
    (metric, name): (Metric, &str),
    limits: &CheckLimits,
    budget: impl Fn(ConditionKind) -> Budget,
    look: Look,
) -> Measured {
    let (canary_nodes, baseline_nodes) = gauges.nodes(metric);
    let mut measured = Measured {
        canary_samples: canary_nodes,
        baseline_samples: baseline_nodes,
        ..Measured::default()
    };
    let mut add = |kind: ConditionKind, tested: Option<GaugeTest>| {
        let Some(test) = tested else {
            measured
                .tested
                .push(no_value(metric, kind, canary_nodes, baseline_nodes));
            return;
        };
        measured.canary = Some(test.canary);
        measured.baseline = test.baseline.or(measured.baseline);
        let tested = judge((metric, name), &test, kind, budget(kind), look);
        measured.tested.push(tested);
    };
    if let Some(max) = limits.max {
        add(ConditionKind::Max, gauges.absolute(metric, max));
    }
    if let Some(increase) = limits.max_increase {
        let test = gauges.relative(metric, increase, limits.min_increase);
        add(ConditionKind::Increase, test);
    }
    measured
}

fn judge(
    (metric, name): (Metric, &str),
    test: &GaugeTest,
    kind: ConditionKind,
    budget: Budget,
    look: Look,
) -> Tested {
    // The level of this soak, which gauges do not carry on.
    let level = (-budget.needed()).exp();
    let interval = look.shown(|| {
        let (low, high) = test.interval(level);
        (Some(low), Some(high))
    });
    let evidence = Evidence {
        kind,
        limit: test.limit,
        estimate: Some(test.estimate),
        interval,
        evidence: -test.chance().ln(),
        needed: 0.0,
        samples: 0.0,
        budget,
    };
    let is_relative = kind == ConditionKind::Increase;
    let (canary_nodes, baseline_nodes) = test.nodes;
    let on = match test.baseline {
        Some(baseline) => format!(
            "on {}, against {} on {} of the previous version",
            nodes(canary_nodes),
            metric.format(baseline),
            nodes(baseline_nodes)
        ),
        None => format!("on {}", nodes(canary_nodes)),
    };
    let mut description = format!(
        "{} is {} {on}",
        metric.figure(name),
        metric.format(test.canary)
    );
    if test.since_before {
        let ratio = format::times(test.estimate);
        description += &format!(", which is {ratio} by what these nodes used before");
    }
    let allowed = if is_relative {
        format!("the allowed {}", format::times(test.limit))
    } else {
        format!("the allowed {}", metric.format(test.limit))
    };
    let value = |value| match kind {
        ConditionKind::Max => metric.format(value),
        ConditionKind::Increase => format!("{} as high", format::times(value)),
    };
    if evidence.is_violated() && look == Look::Final {
        let evidence = evidence.failed();
        let reason = format!(
            "{description}: {}, more than {allowed}; {}",
            evidence.describe_interval(value),
            evidence.describe_chance()
        );
        return evidence.tested(Judgement::Fail, reason, NO_TRAFFIC);
    }
    // Nobody reads the rest of a quick look.
    if look == Look::Quick {
        let judgement = if test.finds_gross_fault(level, is_relative) && !evidence.is_violated() {
            Judgement::Pass
        } else {
            Judgement::Inconclusive
        };
        return evidence.tested(judgement, String::new(), NO_TRAFFIC);
    }
    let certainty = evidence.describe_certainty(value);
    if !test.finds_gross_fault(level, is_relative) {
        let more = match test.nodes_for_gross_fault(level, is_relative) {
            Some(more) => format!("; another {} would be enough", of_new_version(more)),
            None => "; more nodes of the previous version are needed, too".to_owned(),
        };
        let reason = format!(
            "{description}{certainty}; that is too few nodes, or they differ too much, to find \
             three times as much{more}"
        );
        return evidence.tested(Judgement::Inconclusive, reason, NO_TRAFFIC);
    }
    if evidence.is_violated() {
        let reason =
            format!("{description}{certainty}: more than {allowed} so far; judged at the end");
        return evidence.tested(Judgement::Inconclusive, reason, NO_TRAFFIC);
    }
    let reason = match test.nodes_to_fail(level) {
        Some(more) => format!(
            "{description}{certainty}: more than {allowed}, but not beyond doubt; another {} like \
             these would decide",
            of_new_version(more)
        ),
        None => format!("{description}{certainty}: no evidence of more than {allowed}"),
    };
    evidence.tested(Judgement::Pass, reason, NO_TRAFFIC)
}

/// `3 nodes`.
fn nodes(count: u64) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} node{plural}", format::count(count))
}

fn of_new_version(count: u64) -> String {
    format!("{} of the new version", nodes(count))
}

fn no_value(metric: Metric, kind: ConditionKind, canary: u64, baseline: u64) -> Tested {
    let what = match metric {
        Metric::Cpu | Metric::CpuPerRequest => "enough requests and CPU time",
        Metric::Mean => "a value of the metric above 0",
        _ => "a version that is loaded",
    };
    let reason = match kind {
        ConditionKind::Max => format!("no node of the new version reports {what}"),
        ConditionKind::Increase => format!(
            "{canary} nodes of the new version and {baseline} of the previous version report \
             {what}; at least one of each is needed"
        ),
    };
    Tested {
        condition: None,
        judgement: Judgement::Inconclusive,
        reason,
    }
}
