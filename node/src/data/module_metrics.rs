//! Metrics that a module names in its responses.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hotswap_core::{Histogram, ModuleMetric};
use hotswap_protocol::{Bucket, ModuleMetric as MetricStatus};
use http::{HeaderMap, HeaderName};

/// Response header with the metrics of a request, a dictionary as in RFC 8941: `cache-miss,
/// rows=120`. The client does not see it.
///
/// A header, because each request has an instance of its own: a module has no memory in which it
/// could count, and no page on which it could show what it counted. Every language that can answer
/// a request can set a header.
const METRICS_HEADER: HeaderName = HeaderName::from_static("hotswap-metrics");

/// Metrics of one response. Further ones are ignored.
const MAX_METRICS: usize = 8;
/// Bytes of a header line. A longer one is ignored.
const MAX_HEADER_BYTES: usize = 1024;
/// The highest value. A higher one counts as this.
const MAX_VALUE: f64 = 1e9;
/// Values are counted in thousandths.
const SCALE: f64 = 1000.0;

/// What one response says of one metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measurement {
    name: String,
    /// In thousandths. `None` if it has no value.
    value: Option<u64>,
}

/// What one response says of the module's metrics.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Measurements {
    measured: Vec<Measurement>,
    /// How many could not be read.
    ignored: u64,
}

/// The counters of all metrics of a version. Their number is bounded.
#[derive(Debug, Default)]
pub(super) struct MetricCounters {
    metrics: Mutex<Vec<MetricCounter>>,
    ignored: AtomicU64,
}

#[derive(Debug)]
struct MetricCounter {
    name: String,
    requests: u64,
    sum: u64,
    /// Empty where no response had a value.
    values: Vec<u64>,
}

impl Measurements {
    /// Takes the metrics out of the headers of a response.
    pub(super) fn take(headers: &mut HeaderMap) -> Self {
        let mut measurements = Self::default();
        if !headers.contains_key(METRICS_HEADER) {
            return measurements;
        }
        for line in headers.get_all(METRICS_HEADER) {
            match line.to_str() {
                Ok(line) if line.len() <= MAX_HEADER_BYTES => measurements.read(line),
                _ => measurements.ignored += 1,
            }
        }
        headers.remove(METRICS_HEADER);
        measurements
    }

    fn read(&mut self, line: &str) {
        for member in line.split(',').map(str::trim) {
            if member.is_empty() {
                continue;
            }
            match Measurement::parse(member) {
                Some(Some(measured)) if self.measured.len() < MAX_METRICS => {
                    // As in RFC 8941, the last one holds.
                    self.measured.retain(|known| known.name != measured.name);
                    self.measured.push(measured);
                }
                // It says that it did not happen.
                Some(None) => {}
                _ => self.ignored += 1,
            }
        }
    }
}

impl Measurement {
    /// `None` if the member of the dictionary cannot be read, `Some(None)` where it is false.
    fn parse(member: &str) -> Option<Option<Self>> {
        let member = member.split(';').next()?.trim();
        let (name, value) = match member.split_once('=') {
            None | Some((_, "?1")) => (member.split('=').next()?, None),
            Some((_, "?0")) => return Some(None),
            Some((name, value)) => (name, Some(parse_value(value)?)),
        };
        let name = name.to_owned();
        ModuleMetric::is_name(&name).then_some(Some(Self { name, value }))
    }
}

/// A number that is not negative, in thousandths.
fn parse_value(value: &str) -> Option<u64> {
    let value: f64 = value.parse().ok()?;
    let is_value = value.is_finite() && value >= 0.0;
    is_value.then(|| (value.min(MAX_VALUE) * SCALE).round() as u64)
}

impl MetricCounters {
    /// Counts what a response says.
    pub(super) fn count(&self, measurements: &Measurements) {
        let mut ignored = measurements.ignored;
        if !measurements.measured.is_empty() {
            let mut metrics = self.lock();
            for measured in &measurements.measured {
                let known = metrics.iter().position(|one| one.name == measured.name);
                let index = match known {
                    Some(index) => index,
                    None if metrics.len() < ModuleMetric::MOST => {
                        metrics.push(MetricCounter {
                            name: measured.name.clone(),
                            requests: 0,
                            sum: 0,
                            values: Vec::new(),
                        });
                        metrics.len() - 1
                    }
                    None => {
                        ignored += 1;
                        continue;
                    }
                };
                metrics[index].count(measured.value);
            }
        }
        if ignored > 0 {
            self.ignored.fetch_add(ignored, Relaxed);
        }
    }

    /// How many metrics of responses were ignored: not readable, or too many.
    pub(super) fn ignored(&self) -> u64 {
        self.ignored.load(Relaxed)
    }

    /// The current values.
    pub(super) fn status(&self) -> Vec<MetricStatus> {
        self.lock().iter().map(MetricCounter::status).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<MetricCounter>> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MetricCounter {
    fn count(&mut self, value: Option<u64>) {
        self.requests += 1;
        let Some(value) = value else {
            return;
        };
        self.sum = self.sum.saturating_add(value);
        if self.values.is_empty() {
            self.values = vec![0; Histogram::BUCKETS];
        }
        // A thousandth of the metric is a microsecond of the histogram.
        self.values[Histogram::bucket_of_micros(value)] += 1;
    }

    fn status(&self) -> MetricStatus {
        let values = self.values.iter().enumerate();
        let values = values.filter(|&(_, &count)| count > 0);
        MetricStatus {
            name: self.name.clone(),
            requests: self.requests,
            sum_thousandths: self.sum,
            values: values
                .map(|(bucket, &count)| Bucket {
                    bucket: bucket as u16,
                    count,
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn take(lines: &[&str]) -> (Vec<(String, Option<u64>)>, u64) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(METRICS_HEADER, HeaderValue::from_str(line).unwrap());
        }
        let taken = Measurements::take(&mut headers);
        assert!(headers.is_empty(), "the client does not see it");
        let measured = taken.measured.into_iter();
        let measured = measured.map(|one| (one.name, one.value)).collect();
        (measured, taken.ignored)
    }

    #[test]
    fn a_response_names_metrics_with_and_without_values() {
        let (measured, ignored) =
            take(&["cache-miss, rows=120;unit=x, wait=0.25", "paid=?1, b=?0"]);
        let expected = [
            ("cache-miss", None),
            ("rows", Some(120_000)),
            ("wait", Some(250)),
            ("paid", None),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!((measured.as_slice(), ignored), (&expected[..], 0));
        assert_eq!(
            take(&["rows=1, rows=2"]).0,
            [("rows".to_owned(), Some(2000))]
        );
        assert_eq!(take(&[]), (Vec::new(), 0));
    }

    #[test]
    fn what_cannot_be_read_is_ignored_and_counted() {
        for invalid in [
            "Rows=1", "rows=-1", "rows=NaN", "rows=inf", "rows=x", "=1", "a b",
        ] {
            assert_eq!(take(&[invalid]), (Vec::new(), 1), "{invalid}");
        }
        let long = "x".repeat(MAX_HEADER_BYTES + 1);
        assert_eq!(take(&[&long]), (Vec::new(), 1));
        let many: Vec<_> = (0..MAX_METRICS + 3).map(|n| format!("m{n}")).collect();
        let (measured, ignored) = take(&[&many.join(",")]);
        assert_eq!((measured.len(), ignored), (MAX_METRICS, 3));
        assert_eq!(
            take(&["rows=1e300"]).0,
            [("rows".to_owned(), Some(1_000_000_000_000))]
        );
    }

    #[test]
    fn a_version_has_a_bounded_number_of_metrics() {
        let counters = MetricCounters::default();
        let response = |line: &str| {
            let mut measurements = Measurements::default();
            measurements.read(line);
            measurements
        };
        for number in 0..ModuleMetric::MOST + 5 {
            counters.count(&response(&format!("m{number}=7, m0")));
        }
        let status = counters.status();
        assert_eq!(status.len(), ModuleMetric::MOST);
        assert_eq!(counters.ignored(), 5);
        assert_eq!(status[0].requests, ModuleMetric::MOST as u64 + 5);
        assert_eq!((status[1].requests, status[1].sum_thousandths), (1, 7000));
        assert_eq!(status[1].values.len(), 1);
    }
}
