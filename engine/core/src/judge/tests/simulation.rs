//! Soaks of random traffic.

use super::fixture::*;
use crate::{Check, VersionInterval};

const READINGS: u64 = 40;
const SOAKS: u64 = 500;

/// What both sides do between two readings, which are counted from 0.
pub(super) type Traffic<'a> = &'a dyn Fn(&mut Random, u64) -> [VersionInterval; 2];

/// The readings after which soaks failed, sorted. `None` where one did not.
pub(super) fn failures(check: Check, sharing: usize, traffic: Traffic<'_>) -> Vec<Option<u64>> {
    let mut random = Random(0x5EED_0001);
    // Others that share the budget, and that nothing is measured of.
    let others = [
        max_increase("cpu", 0.3),
        max_increase("memory", 0.3),
        max_increase("restarts", 9.0),
    ];
    let mut checks = vec![check];
    checks.extend(others.into_iter().take(sharing - 1));
    let mut failed: Vec<_> = (0..SOAKS)
        .map(|_| {
            let mut judge = start_judge(checks.clone());
            (0..READINGS).find_map(|at| {
                let [canary, baseline] = traffic(&mut random, at);
                judge.observe(&reading(canary, baseline));
                judge.interim().map(|_| at + 1)
            })
        })
        .collect();
    failed.sort_unstable_by_key(|at| at.unwrap_or(u64::MAX));
    failed
}

pub(super) fn share_failed(check: Check, sharing: usize, traffic: Traffic<'_>) -> f64 {
    let failed = failures(check, sharing, traffic);
    failed.iter().flatten().count() as f64 / failed.len() as f64
}

/// The median of the readings after which soaks failed, with four conditions.
pub(super) fn median_failure(check: Check, traffic: Traffic<'_>) -> u64 {
    let failed = failures(check, 4, traffic);
    failed[failed.len() / 2].unwrap_or(u64::MAX)
}

/// Errors in bursts of `size` at these rates.
pub(super) fn errors(
    (n1, p1): (u64, f64),
    (n0, p0): (u64, f64),
    size: f64,
) -> impl Fn(&mut Random, u64) -> [VersionInterval; 2] {
    move |random, _| {
        [
            requests(n1, random.bursts(n1, p1, size)),
            requests(n0, random.bursts(n0, p0, size)),
        ]
    }
}

/// The quantile function of latencies whose quantile `q` is 1.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    Narrow,
    Decade,
    Usual,
    Wide,
    Heavy,
}

impl Shape {
    fn value(self, share: f64, normal: f64) -> f64 {
        match self {
            Self::Narrow => 1.0 + 0.02 * (share - 0.5),
            Self::Decade => 10_f64.powf(share),
            Self::Usual => (0.6 * normal).exp(),
            Self::Wide => normal.exp(),
            Self::Heavy => (1.0 - share).powf(-1.0 / 1.2),
        }
    }

    fn place(self, q: f64) -> f64 {
        // Of the standard normal distribution.
        let normal = if q > 0.9 { 1.644_854 } else { 0.0 };
        self.value(q, normal)
    }

    /// `n` latencies whose quantile `q` is `place` milliseconds.
    pub(super) fn draw(self, random: &mut Random, n: u64, q: f64, place: f64) -> VersionInterval {
        let scale = place / self.place(q);
        latencies((0..n).map(|_| {
            let normal = match self {
                Self::Usual | Self::Wide => random.normal(),
                _ => 0.0,
            };
            scale * self.value(random.share(), normal)
        }))
    }
}
