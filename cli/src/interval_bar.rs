//! Draws the interval of a condition against its limit.

use hotswap_core::{Condition, ConditionKind, Finding, Judge};

/// The columns of a bar.
const WIDTH: usize = 32;

/// `···──●────┃··· 1.1 to 3.2 times, limit 1.5` for each condition of a finding: the interval that the
/// test leaves possible, the estimate and the limit. Leaves out those of which nothing was measured.
pub fn draw_all(finding: &Finding) -> impl Iterator<Item = String> {
    let conditions = finding.conditions.iter();
    conditions.filter_map(|condition| draw(&finding.check.metric, condition))
}

fn draw(metric: &str, condition: &Condition) -> Option<String> {
    let estimate = condition.estimate?;
    // Ratios are drawn by their logarithm, so that half and twice are equally far from 1.
    let scale = |value: f64| match condition.kind {
        ConditionKind::Max => value,
        ConditionKind::Increase => value.max(1e-3).ln(),
    };
    let ends = [
        Some(estimate),
        Some(condition.limit),
        condition.low,
        condition.high,
    ];
    let ends: Vec<f64> = ends.into_iter().flatten().map(scale).collect();
    let (first, last) = ends
        .iter()
        .fold((f64::MAX, f64::MIN), |(first, last), &end| {
            (first.min(end), last.max(end))
        });
    let margin = 0.1 * (last - first).max(f64::MIN_POSITIVE);
    let (first, last) = (first - margin, last + margin);
    let column = |value: f64| {
        let share = (scale(value) - first) / (last - first);
        ((share * WIDTH as f64) as usize).min(WIDTH - 1)
    };
    let mut bar = ['·'; WIDTH];
    let low = condition.low.map_or(0, column);
    let high = condition.high.map_or(WIDTH - 1, column);
    bar[low..=high.max(low)].fill('─');
    bar[column(estimate)] = '●';
    bar[column(condition.limit)] = '┃';
    let bar: String = bar.into_iter().collect();
    let (unit, figure): (_, &dyn Fn(f64) -> String) = match condition.kind {
        ConditionKind::Max => ("", &|value| Judge::describe(metric, value)),
        ConditionKind::Increase => (" times", &ratio),
    };
    let range = match (condition.low, condition.high) {
        (Some(low), Some(high)) => format!("{} to {}{unit}", figure(low), figure(high)),
        (Some(low), None) => format!("at least {}{unit}", figure(low)),
        (None, Some(high)) => format!("at most {}{unit}", figure(high)),
        (None, None) => format!("about {}{unit}, not known yet", figure(estimate)),
    };
    Some(format!("{bar} {range}, limit {}", figure(condition.limit)))
}

/// Three significant digits.
fn ratio(value: f64) -> String {
    let magnitude = value.abs().max(1e-9).log10().floor();
    let places = (2.0 - magnitude).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.places$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: ConditionKind, low: Option<f64>, high: Option<f64>) -> Condition {
        Condition {
            kind,
            limit: 1.5,
            estimate: Some(2.0),
            low,
            high,
            evidence: 1.0,
            earlier: -0.7,
            threshold: 6.0,
            bursts: None,
            lifetimes: None,
            missing_requests: None,
            missing_millis: None,
        }
    }

    #[test]
    fn the_interval_is_drawn_against_the_limit() {
        let both = condition(ConditionKind::Increase, Some(1.0), Some(4.0));
        assert_eq!(
            draw("error-rate", &both).unwrap(),
            "··────────┃─────●─────────────·· 1 to 4 times, limit 1.5"
        );
        let open = condition(ConditionKind::Max, Some(1.75), None);
        let text = draw("latency-p95", &open).unwrap();
        assert!(text.ends_with(" at least 1.75 ms, limit 1.5 ms"), "{text}");
        let bar: Vec<char> = text.chars().take(WIDTH).collect();
        let limit = bar.iter().position(|&sign| sign == '┃').unwrap();
        let first = bar.iter().position(|&sign| sign == '─').unwrap();
        assert!(
            limit < first,
            "a limit that is exceeded lies before the interval: {text}"
        );
        let mut memory = condition(ConditionKind::Max, Some(888_193.0), Some(1_566_742.0));
        (memory.estimate, memory.limit) = (Some(1.2e6), 18_546_688.0);
        let text = draw("memory", &memory).unwrap();
        assert!(
            text.ends_with(" 867 KiB to 1.49 MiB, limit 17.7 MiB"),
            "{text}"
        );
        let none = condition(ConditionKind::Increase, None, None);
        assert!(
            draw("error-rate", &none)
                .unwrap()
                .ends_with("about 2 times, not known yet, limit 1.5")
        );
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let mut none = condition(ConditionKind::Max, None, None);
        none.estimate = None;
        assert_eq!(draw("error-rate", &none), None);
    }
}
