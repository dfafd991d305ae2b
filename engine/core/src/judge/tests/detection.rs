//! Versions that are clearly bad must be found soon. The figures are readings until then, the
//! median of the soaks. Where they are above those of the simulation behind the tests, which knew
//! neither the cap of the most damning reading nor the priors of design effects, a comment has
//! that one's.

use super::fixture::*;
use super::simulation::*;

#[test]
fn an_error_rate_that_is_clearly_too_high_fails_soon() {
    let check = || max_increase("error-rate", 0.5);
    let mut late = Vec::new();
    for (name, canary, baseline, most) in [
        ("0.1 % to 2 %", (50, 0.02), (450, 0.001), 10),
        ("0 to 2 %", (50, 0.02), (450, 0.0), 7),
        ("0 to 0.5 %", (50, 0.005), (450, 0.0), 23),
        // Simulated: 9.
        ("1 % to 5 %", (50, 0.05), (450, 0.01), 10),
        ("1 % to 20 %", (50, 0.2), (450, 0.01), 3),
        ("0 to 2 %, even", (50, 0.02), (50, 0.0), 18),
        ("0.1 % to 2 %, even", (50, 0.02), (50, 0.001), 23),
        ("1 % to 5 %, even", (50, 0.05), (50, 0.01), 22),
        // Simulated: 28.
        ("1 % to 2 %", (500, 0.02), (4500, 0.01), 30),
    ] {
        let median = median_failure(check(), &errors(canary, baseline, 1.0));
        late.extend((median > most).then(|| format!("{name}: {median}")));
    }
    assert_eq!(late, Vec::<String>::new());
}

#[test]
fn a_latency_that_is_clearly_too_high_fails_soon() {
    let mut late = Vec::new();
    for (metric, q, [canary, baseline], factor, most) in [
        // Simulated: 24.
        ("latency-p95", 0.95, [20, 180], 3.0, 26),
        ("latency-p95", 0.95, [20, 180], 4.0, 7),
        ("latency-p95", 0.95, [20, 180], 10.0, 3),
        // Simulated: 26.
        ("latency-p95", 0.95, [50, 50], 3.0, 28),
        // Simulated: 9.
        ("latency-p95", 0.95, [50, 50], 4.0, 11),
        ("latency-p95", 0.95, [50, 50], 10.0, 5),
        // Simulated: 25.
        ("latency-p95", 0.95, [10, 10], 10.0, 36),
        ("latency-p50", 0.5, [20, 180], 3.0, 11),
        // Simulated: 7.
        ("latency-p99", 0.99, [50, 450], 4.0, 8),
    ] {
        let median = median_failure(max_increase(metric, 1.0), &|random, _| {
            [
                Shape::Usual.draw(random, canary, q, 60.0 * factor),
                Shape::Usual.draw(random, baseline, q, 60.0),
            ]
        });
        late.extend(
            (median > most).then(|| format!("{metric} {canary}:{baseline} ×{factor}: {median}")),
        );
    }
    assert_eq!(late, Vec::<String>::new());
}
