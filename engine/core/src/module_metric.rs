//! Metrics of a module's own.

use serde::{Deserialize, Serialize};

use crate::Histogram;

/// Counters of one of the module's own metrics, from the requests of one version.
///
/// A module names a metric in the header `hotswap-metrics` of its responses, with a value or
/// without: see `docs/canary.md`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleMetric {
    /// Its name: see [`Self::is_name`].
    pub name: String,
    /// Requests whose responses named it.
    pub requests: u64,
    /// The sum of their values, in thousandths.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sum: u64,
    /// Their values, each as so many milliseconds. Empty where none had a value.
    #[serde(default, skip_serializing_if = "Histogram::is_empty")]
    pub values: Histogram,
}

impl ModuleMetric {
    /// How many metrics a version may have. Nodes ignore further ones.
    pub const MOST: usize = 8;

    /// The longest name.
    const LONGEST_NAME: usize = 40;

    /// Whether this is the name of a metric: 1 to 40 lower-case letters, digits, `-` and `_`, of
    /// which the first is a letter.
    pub fn is_name(name: &str) -> bool {
        let is_valid = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
        };
        name.len() <= Self::LONGEST_NAME
            && name
                .bytes()
                .next()
                .is_some_and(|byte| byte.is_ascii_lowercase())
            && name.bytes().all(is_valid)
    }

    /// What was counted since `earlier`, an earlier state of these counters.
    #[must_use]
    pub fn since(&self, earlier: Option<&Self>) -> Self {
        let Some(earlier) = earlier else {
            return self.clone();
        };
        Self {
            name: self.name.clone(),
            requests: self.requests.saturating_sub(earlier.requests),
            sum: self.sum.saturating_sub(earlier.sum),
            values: self.values.since(&earlier.values),
        }
    }

    /// Adds counters of the same metric.
    pub fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.sum = self.sum.saturating_add(other.sum);
        self.values.add(&other.values);
    }

    /// Adds `metric` to the one of its name among `metrics`.
    pub fn add_to(metrics: &mut Vec<Self>, metric: Self) {
        let mut known = metrics.iter_mut();
        match known.find(|known| known.name == metric.name) {
            Some(known) => known.add(&metric),
            None => metrics.push(metric),
        }
    }

    /// The mean of the values, in thousandths. `None` if there are none.
    pub fn mean(&self) -> Option<u64> {
        self.sum.checked_div(self.values.total())
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for name in ["a", "cache-misses", "rows_2", &"x".repeat(40)] {
            assert!(ModuleMetric::is_name(name), "{name}");
        }
        for name in ["", "2a", "-a", "A", "a b", "a:p95", "ä", &"x".repeat(41)] {
            assert!(!ModuleMetric::is_name(name), "{name}");
        }
    }

    #[test]
    fn metrics_of_one_name_are_added() {
        let metric = |name: &str, requests, sum| ModuleMetric {
            name: name.to_owned(),
            requests,
            sum,
            values: Histogram::from_counts([0, requests]),
        };
        let mut all = vec![metric("a", 3, 30)];
        ModuleMetric::add_to(&mut all, metric("b", 1, 1));
        ModuleMetric::add_to(&mut all, metric("a", 2, 20));
        assert_eq!(all, [metric("a", 5, 50), metric("b", 1, 1)]);
        assert_eq!(all[0].mean(), Some(10));
        assert_eq!(all[0].since(Some(&metric("a", 3, 30))), metric("a", 2, 20));
        assert_eq!(ModuleMetric::default().mean(), None);
    }
}
