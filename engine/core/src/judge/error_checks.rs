//! Judges the error rate against its limits.

use crate::{ConditionKind, Judgement};

use super::budget::Budget;
use super::dispersion::LEAST_READINGS;
use super::error_rate::{BASELINE, CANARY, Counts, ErrorRates, LEAST_REQUESTS, NOTICEABLE};
use super::limits::CheckLimits;
use super::outcome::{Evidence, Measured, Tested, Traffic};
use super::{Look, format, mixture};

/// Tests each condition of a check of the error rate.
///
/// `counted` says what the requests did that count as errors: `failed`.
pub(super) fn test(
    rates: &ErrorRates,
    counted: &str,
    limits: &CheckLimits,
    budget: impl Fn(ConditionKind) -> Budget,
    traffic: Traffic,
    look: Look,
) -> Measured {
    let total = rates.total;
    let absolute = limits.max.map(|max| {
        test_max(
            rates,
            counted,
            max,
            budget(ConditionKind::Max),
            traffic,
            look,
        )
    });
    let relative = limits.max_increase.map(|increase| {
        let budget = budget(ConditionKind::Increase);
        let limits = (increase, limits.min_increase);
        let mut tested = test_increase(rates, counted, limits, budget, traffic, look);
        if let Some(condition) = &mut tested.condition {
            condition.bursts = Some(rates.bursts());
        }
        tested
    });
    Measured {
        canary: total.rate(CANARY),
        baseline: total.rate(BASELINE),
        canary_samples: total.requests[CANARY] as u64,
        baseline_samples: total.requests[BASELINE] as u64,
        tested: absolute.into_iter().chain(relative).collect(),
    }
}

fn describe(counts: &Counts, counted: &str, side: usize) -> String {
    format!(
        "{} of {} requests {counted} ({})",
        format::count(counts.errors[side] as u64),
        format::count(counts.requests[side] as u64),
        format::percent(counts.rate(side).unwrap_or(0.0))
    )
}

fn test_max(
    rates: &ErrorRates,
    counted: &str,
    max: f64,
    budget: Budget,
    traffic: Traffic,
    look: Look,
) -> Tested {
    let requests = rates.total.requests[CANARY];
    let evidence = Evidence {
        kind: ConditionKind::Max,
        limit: max,
        estimate: rates.total.rate(CANARY),
        interval: look.shown(|| rates.rate_interval(budget.shown())),
        evidence: rates.absolute_evidence(max),
        needed: needed_for_max(rates, max, budget.needed()),
        samples: requests,
        budget,
    };
    let description = describe(&rates.total, counted, CANARY);
    let allowed = format::percent(max);
    if evidence.is_violated() {
        let evidence = evidence.failed();
        let reason = format!(
            "{description}: {}, more than the allowed {allowed}; {}",
            evidence.describe_interval(format::percent),
            evidence.describe_chance()
        );
        return evidence.tested(Judgement::Fail, reason, traffic);
    }
    let evidence = evidence.kept();
    let (_, readings) = rates.readings();
    if let Some(reason) = too_few_readings(readings, &rates.total, false) {
        return evidence.tested(Judgement::Inconclusive, reason, traffic);
    }
    if requests < evidence.needed {
        let reason = format!(
            "the new version answered {}; {} are needed for a verdict{}{}",
            format::requests(requests as u64),
            format::count(evidence.needed.ceil() as u64),
            traffic.describe(evidence.needed - requests),
            evidence.describe_certainty(format::percent)
        );
        return evidence.tested(Judgement::Inconclusive, reason, traffic);
    }
    let description = format!(
        "{description}{}",
        evidence.describe_certainty(format::percent)
    );
    let allowed = format!("the allowed {allowed}");
    let reason = passed(&evidence, &description, &allowed, traffic);
    evidence.tested(Judgement::Pass, reason, traffic)
}

/// The fewest requests with which the test would find a rate [`NOTICEABLE`] above `max`. Where
/// that rate would be over 100 %, the limit can hardly be exceeded, and [`LEAST_REQUESTS`] suffice.
fn needed_for_max(rates: &ErrorRates, max: f64, needed: f64) -> f64 {
    let bad = max + NOTICEABLE;
    if bad >= 1.0 {
        return LEAST_REQUESTS;
    }
    let requests = mixture::least_total(bad, max, needed);
    let (_, dispersion) = rates.dispersions_after(requests * bad);
    (requests * dispersion).max(LEAST_REQUESTS)
}

fn test_increase(
    rates: &ErrorRates,
    counted: &str,
    (increase, min_increase): (f64, f64),
    budget: Budget,
    traffic: Traffic,
    look: Look,
) -> Tested {
    let total = &rates.total;
    let (canary, baseline) = (total.rate(CANARY), total.rate(BASELINE));
    let ratio = canary
        .zip(baseline)
        .map(|(canary, baseline)| canary / baseline);
    let needed = needed_for_increase(rates, increase, budget.needed());
    let evidence = Evidence {
        kind: ConditionKind::Increase,
        limit: 1.0 + increase,
        estimate: ratio.filter(|ratio| !ratio.is_nan()),
        interval: look.shown(|| rates.ratio_interval(budget.shown())),
        evidence: rates.relative_evidence(1.0 + increase),
        needed: needed.unwrap_or(LEAST_REQUESTS),
        samples: total.requests[CANARY],
        budget,
    };
    let description = format!(
        "{}, against {} of {} ({}) on the previous version",
        describe(total, counted, CANARY),
        format::count(total.errors[BASELINE] as u64),
        format::count(total.requests[BASELINE] as u64),
        format::percent(baseline.unwrap_or(0.0))
    );
    let allowed = format::percent(increase);
    let rise = canary.unwrap_or(0.0) - baseline.unwrap_or(0.0);
    let is_violated = evidence.is_violated();
    if is_violated && rise >= min_increase {
        let evidence = evidence.failed();
        let reason = format!(
            "{description}: {} its rate, more than the allowed increase of {allowed}; {}",
            evidence.describe_interval(format::times),
            evidence.describe_chance()
        );
        return evidence.tested(Judgement::Fail, reason, traffic);
    }
    let evidence = evidence.kept();
    let (readings, _) = rates.readings();
    if let Some(reason) = too_few_readings(readings, total, true) {
        return evidence.tested(Judgement::Inconclusive, reason, traffic);
    }
    let times = |ratio| format!("{} the previous rate", format::times(ratio));
    if let Some(reason) = too_few(total, needed, traffic) {
        let reason = format!("{reason}{}", evidence.describe_certainty(times));
        return evidence.tested(Judgement::Inconclusive, reason, traffic);
    }
    let reason = if is_violated {
        format!(
            "{description}: the increase is less than {}, which is never a failure",
            format::percent(min_increase)
        )
    } else {
        let allowed = format!("the allowed increase of {allowed}");
        let description = format!("{description}{}", evidence.describe_certainty(times));
        passed(&evidence, &description, &allowed, traffic)
    };
    let mut tested = evidence.tested(Judgement::Pass, reason, traffic);
    if is_violated && let Some(condition) = &mut tested.condition {
        // What is never a failure must not become one in a later soak.
        condition.evidence = condition.evidence.min(0.0);
    }
    tested
}

/// How many requests of the new version are needed; `None` if it cannot be told.
///
/// If the previous version has no error, the test finds k errors of the new version where their
/// likelihood is above what the evidence needs. At a rate of [`NOTICEABLE`], k errors take
/// k / [`NOTICEABLE`] requests. Assumes that the ratio between the sides stays as it is.
fn needed_for_increase(rates: &ErrorRates, increase: f64, needed: f64) -> Option<f64> {
    let counts = &rates.compared;
    let [canary, baseline] = counts.requests;
    if canary <= 0.0 || baseline <= 0.0 {
        return None;
    }
    let odds = counts.odds(1.0 + increase);
    // -ln(odds / (1 + odds)), each error's worth.
    let worth = (1.0 / odds).ln_1p();
    if worth <= 0.0 {
        return None;
    }
    let errors = ((needed + mixture::PRICE) / worth).ceil();
    let (dispersion, _) = rates.dispersions_after(errors);
    let errors = errors * dispersion;
    let of_baseline = LEAST_REQUESTS * canary / baseline;
    Some((errors / NOTICEABLE).max(LEAST_REQUESTS).max(of_baseline))
}

fn too_few(total: &Counts, needed: Option<f64>, traffic: Traffic) -> Option<String> {
    let [canary, baseline] = total.requests;
    let answered = format!(
        "the new version answered {} and the previous version {}",
        format::requests(canary as u64),
        format::count(baseline as u64)
    );
    let Some(needed) = needed else {
        let least = format::count(LEAST_REQUESTS as u64);
        return Some(format!(
            "{answered}; at least {least} of each are needed for a verdict"
        ));
    };
    if canary >= needed {
        return None;
    }
    let count = |n: f64| format::count(n.ceil() as u64);
    Some(format!(
        "{answered}; at this ratio, {} and {} are needed for a verdict{}",
        count(needed),
        count(needed / canary * baseline),
        traffic.describe(needed - canary)
    ))
}

/// Before the third reading it is not known whether errors come in bursts.
fn too_few_readings(readings: u32, total: &Counts, has_baseline: bool) -> Option<String> {
    let answered = total.requests[CANARY] > 0.0;
    let compared = !has_baseline || total.requests[BASELINE] > 0.0;
    // Without any requests these are what is missing.
    (readings < LEAST_READINGS && answered && compared).then(|| {
        format!(
            "requests were answered in {readings} of at least {LEAST_READINGS} readings, which tell \
             whether errors come in bursts"
        )
    })
}

/// The reason of a condition that holds. Where the estimate is above the limit, it says so.
pub(super) fn passed(
    evidence: &Evidence,
    description: &str,
    allowed: &str,
    traffic: Traffic,
) -> String {
    let is_decided = evidence.samples >= evidence.needed;
    match evidence.missing().filter(|_| is_decided) {
        None => format!("{description}: no evidence of more than {allowed}"),
        Some(missing) => format!(
            "{description}: more than {allowed}, but not beyond doubt; if it goes on like this, \
             another {} would decide{}",
            format::requests(missing as u64),
            traffic.describe(missing)
        ),
    }
}
