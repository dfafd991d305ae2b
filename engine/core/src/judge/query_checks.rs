//! Judges what providers of metrics answer.
//!
//! Nobody knows what is behind such a number: how many requests, over which time, and whether the
//! next answer says anything that the last one has not. So no probability is computed. A limit
//! that is exceeded in several readings in a row fails, and the finding says that it is not known
//! how sure that is.

use std::collections::VecDeque;

use crate::{Check, Finding, Judgement, QueryReading};

use super::limits::CheckLimits;
use super::metric::{Metric, query};
use super::{Look, format};

/// A limit fails once so many answers in a row exceed it.
const IN_A_ROW: u32 = 3;
/// Answers that a finding keeps: more than a soak has readings.
const KEPT: usize = 64;
/// Characters of an error that a finding repeats.
const MAX_ERROR: usize = 200;

/// The answers to one query.
#[derive(Debug, Clone, Default)]
pub(super) struct QueryAnswers {
    name: String,
    asked: u32,
    last_error: Option<String>,
    last_was_answered: bool,
    /// The latest readings.
    readings: VecDeque<QueryReading>,
}

impl QueryAnswers {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Adds a reading. A number that is not finite is no answer.
    pub(super) fn add(&mut self, mut reading: QueryReading) {
        let is_number = |value: &f64| value.is_finite();
        reading.canary = reading.canary.filter(is_number);
        reading.baseline = reading.baseline.filter(is_number);
        self.asked = self.asked.saturating_add(1);
        self.last_was_answered = reading.error.is_none() && reading.canary.is_some();
        if let Some(error) = &mut reading.error {
            *error = error.chars().take(MAX_ERROR).collect();
            self.last_error = Some(error.clone());
        }
        if self.readings.len() == KEPT {
            self.readings.pop_front();
        }
        self.readings.push_back(reading);
    }

    /// How many of the latest answers, without a gap, exceed the limit.
    fn in_a_row(&self, exceeds: impl Fn(&QueryReading) -> Option<bool>) -> (u32, u32) {
        let answers = self.readings.iter().rev().filter_map(&exceeds);
        let row = answers.take_while(|exceeds| *exceeds).count();
        let all = self.readings.iter().filter_map(exceeds).count();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        (count(row), count(all))
    }

    /// The finding of a check of the query.
    pub(super) fn judge(&self, check: &Check, limits: &CheckLimits, look: Look) -> Finding {
        let last = self.readings.back();
        let (canary, baseline) = (
            last.and_then(|last| last.canary),
            last.and_then(|last| last.baseline),
        );
        let mut results = Vec::new();
        if let Some(max) = limits.max {
            let exceeds = |reading: &QueryReading| Some(reading.canary? > max);
            let description = describe(&self.name, canary, None);
            let allowed = format!("the allowed {}", format::number(max));
            results.push(self.judge_limit(self.in_a_row(exceeds), &description, &allowed));
        }
        if let Some(increase) = limits.max_increase {
            let exceeds = |reading: &QueryReading| {
                let (new, old) = (reading.canary?, reading.baseline?);
                // A number below 0 has no share of itself.
                let limit = (old + increase * old.abs()).max(old + limits.min_increase);
                Some(new > limit)
            };
            let description = describe(&self.name, canary, baseline);
            let allowed = format!("the allowed increase of {}", format::percent(increase));
            results.push(if self.readings.iter().all(|one| one.baseline.is_none()) {
                (
                    Judgement::Inconclusive,
                    format!(
                        "there is no answer for the previous version to compare with{}: a query \
                         that has one contains {{{{version}}}}, {{{{digest}}}} or {{{{nodes}}}}",
                        self.describe_error()
                    ),
                )
            } else {
                self.judge_limit(self.in_a_row(exceeds), &description, &allowed)
            });
        }
        let judgement = [Judgement::Fail, Judgement::Inconclusive]
            .into_iter()
            .find(|judgement| results.iter().any(|(result, _)| result == judgement))
            .unwrap_or(Judgement::Pass);
        let decisive = results.iter().filter(|(result, _)| *result == judgement);
        let reasons: Vec<_> = decisive.map(|(_, reason)| reason.as_str()).collect();
        let answered = |value: fn(&QueryReading) -> Option<f64>| {
            self.readings.iter().filter_map(value).count() as u64
        };
        Finding {
            check: check.clone(),
            judgement,
            canary,
            baseline,
            canary_samples: answered(|reading| reading.canary),
            baseline_samples: answered(|reading| reading.baseline),
            reason: reasons.join("; and "),
            conditions: Vec::new(),
            queried: if look == Look::Final {
                self.readings.iter().cloned().collect()
            } else {
                Vec::new()
            },
        }
    }

    fn judge_limit(
        &self,
        (row, answers): (u32, u32),
        description: &str,
        allowed: &str,
    ) -> (Judgement, String) {
        if row >= IN_A_ROW {
            let reason = format!(
                "{description}: more than {allowed} in {row} readings in a row; how sure that is \
                 cannot be told of a number of others"
            );
            return (Judgement::Fail, reason);
        }
        let provider = format!(
            "{} was answered in {answers} of {} readings{}",
            self.name,
            self.asked,
            self.describe_error()
        );
        if answers < IN_A_ROW || answers < self.asked.div_ceil(2) {
            let reason = format!(
                "{provider}; at least {IN_A_ROW} answers, and half of all, are needed for a verdict"
            );
            return (Judgement::Inconclusive, reason);
        }
        if !self.last_was_answered {
            let reason = format!("{provider}; the last reading has none");
            return (Judgement::Inconclusive, reason);
        }
        if row > 0 {
            let reason = format!(
                "{description}: more than {allowed} in the last {row} of {IN_A_ROW} readings that \
                 fail"
            );
            return (Judgement::Inconclusive, reason);
        }
        let reason = format!(
            "{description}: not more than {allowed}, in {answers} answers; how sure that is cannot \
             be told of a number of others"
        );
        (Judgement::Pass, reason)
    }

    /// `, the last error being: the provider is down`.
    fn describe_error(&self) -> String {
        let error = self.last_error.as_ref();
        error.map_or_else(String::new, |error| format!(" (the last error: {error})"))
    }
}

fn describe(name: &str, canary: Option<f64>, baseline: Option<f64>) -> String {
    let value = |value: Option<f64>| value.map_or("not known".to_owned(), format::number);
    let against = baseline.map_or_else(String::new, |baseline| {
        let baseline = format::number(baseline);
        format!(", against {baseline} of the previous version")
    });
    format!("{name} is {}{against}", value(canary))
}

/// The queries that checks name, each once.
pub(super) fn answers_of<'a>(checks: impl Iterator<Item = (Metric, &'a str)>) -> Vec<QueryAnswers> {
    let mut all: Vec<QueryAnswers> = Vec::new();
    for (metric, name) in checks {
        if metric == Metric::Query
            && let Some(name) = query(name)
            && all.iter().all(|known| known.name != name)
        {
            all.push(QueryAnswers::new(name));
        }
    }
    all
}
