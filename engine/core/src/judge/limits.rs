use crate::Check;

use super::Judge;
use super::words;

/// What can be judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Metric {
    ErrorRate,
    Latency { quantile: f64 },
    Cpu,
    Memory,
}

/// The limits of a check, each a number that can be calculated with, at least one of
/// the first two given.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) max: Option<f64>,
    /// None where there is no baseline, too: then only `max` is judged.
    pub(super) max_increase: Option<f64>,
    pub(super) min_increase: f64,
    /// The chance of an error that the test of each condition may take at one look.
    pub(super) chance: f64,
}

impl Metric {
    /// As an error, the sentence that names those there are.
    pub(super) fn named(name: &str) -> Result<Self, String> {
        match name {
            "error-rate" => Ok(Self::ErrorRate),
            "latency-p50" => Ok(Self::Latency { quantile: 0.50 }),
            "latency-p95" => Ok(Self::Latency { quantile: 0.95 }),
            "latency-p99" => Ok(Self::Latency { quantile: 0.99 }),
            "cpu" => Ok(Self::Cpu),
            "memory" => Ok(Self::Memory),
            _ => Err(format!(
                "there is no metric '{}': use error-rate, latency-p50, latency-p95, latency-p99, \
                 cpu or memory",
                words::brief(name)
            )),
        }
    }
}

impl Limits {
    /// As an error, the sentence that says why they cannot be judged. A limit that is no
    /// number, infinite or negative is such a reason: to pass it would be to ignore it, and
    /// to fail it would put a fault of the strategy on the version.
    pub(super) fn of(check: &Check, has_baseline: bool) -> Result<Self, String> {
        let given = [
            ("max", check.max),
            ("max-increase", check.max_increase),
            ("min-increase", check.min_increase),
        ];
        for (name, value) in given {
            if let Some(value) = value.filter(|value| !value.is_finite() || *value < 0.0) {
                return Err(format!(
                    "{name} is {value}: give a finite number that is not negative"
                ));
            }
        }
        if check.max.is_none() && check.max_increase.is_none() {
            return Err("no limit was given: set max, max-increase or both".to_owned());
        }
        let max_increase = check.max_increase.filter(|_| has_baseline);
        if check.max.is_none() && max_increase.is_none() {
            return Err(
                "no node runs the version before, so there is nothing to compare with".to_owned(),
            );
        }
        let conditions =
            f64::from(u8::from(check.max.is_some())) + f64::from(u8::from(max_increase.is_some()));
        Ok(Self {
            max: check.max,
            max_increase,
            min_increase: check.min_increase.unwrap_or(0.0),
            chance: Judge::FALSE_ALARM / f64::from(Judge::LOOKS) / conditions,
        })
    }

    /// The words for a test that came out against the version.
    pub(super) fn certainty(&self) -> String {
        format!(
            "chance alone would show it less than once in {} times",
            words::count((1.0 / self.chance).round() as u64)
        )
    }
}
