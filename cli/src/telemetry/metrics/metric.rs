use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};

use super::open_metrics::{Family, Kind, Label, Sample};

/// Since the process has started.
const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// A metric, with the name that its series have in the text. `span` is the time from which it counts,
/// and that of its values, in nanoseconds since 1970.
pub(super) fn metric(family: Family, span: (u64, u64)) -> Metric {
    let unit = unit(&family.name).to_owned();
    let (name, data) = match family.kind {
        Kind::Counter => {
            let sum = Sum {
                data_points: numbers(family.samples, span),
                aggregation_temporality: CUMULATIVE,
                is_monotonic: true,
            };
            (format!("{}_total", family.name), Data::Sum(sum))
        }
        Kind::Gauge => {
            let data_points = numbers(family.samples, span);
            (family.name, Data::Gauge(Gauge { data_points }))
        }
        Kind::Histogram => {
            let histogram = Histogram {
                data_points: histograms(family.samples, span),
                aggregation_temporality: CUMULATIVE,
            };
            (family.name, Data::Histogram(histogram))
        }
    };
    Metric {
        name,
        description: family.help,
        unit,
        data: Some(data),
        ..Metric::default()
    }
}

/// The unit, as UCUM writes it. Names end with it.
fn unit(family: &str) -> &'static str {
    match family.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        // Not `1`: that makes a gauge a ratio where names are built from units.
        _ => "",
    }
}

fn numbers(samples: Vec<Sample>, (start, time): (u64, u64)) -> Vec<NumberDataPoint> {
    let point = |sample: Sample| {
        let value = match sample.value.parse() {
            Ok(whole) => Value::AsInt(whole),
            Err(_) => Value::AsDouble(sample.value.parse().ok()?),
        };
        Some(NumberDataPoint {
            attributes: attributes(sample.labels),
            start_time_unix_nano: start,
            time_unix_nano: time,
            value: Some(value),
            ..NumberDataPoint::default()
        })
    };
    samples.into_iter().filter_map(point).collect()
}

/// What the samples of one histogram say together.
#[derive(Default)]
struct Buckets {
    sum: f64,
    count: u64,
    /// Each bound, with the count up to it.
    up_to: Vec<(f64, u64)>,
}

fn histograms(samples: Vec<Sample>, (start, time): (u64, u64)) -> Vec<HistogramDataPoint> {
    let mut all = BTreeMap::<Vec<Label>, Buckets>::new();
    for mut sample in samples {
        let bound = sample.labels.iter().position(|(name, _)| name == "le");
        let bound = bound.map(|place| sample.labels.remove(place).1);
        let buckets = all.entry(sample.labels).or_default();
        let value = sample.value.parse::<f64>().unwrap_or_default();
        match (sample.suffix.as_str(), bound) {
            ("_sum", _) => buckets.sum = value,
            ("_count", _) => buckets.count = value as u64,
            (_, Some(bound)) => {
                let bound = bound.parse().unwrap_or(f64::INFINITY);
                buckets.up_to.push((bound, value as u64));
            }
            (_, None) => {}
        }
    }
    let point = |(labels, mut buckets): (_, Buckets)| {
        buckets.up_to.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut below = 0;
        let counts = buckets.up_to.iter().map(|(_, count)| {
            let inside = count.saturating_sub(below);
            below = *count;
            inside
        });
        let bucket_counts = counts.collect();
        let bounds = buckets.up_to.iter().map(|(bound, _)| *bound);
        HistogramDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano: start,
            time_unix_nano: time,
            count: buckets.count,
            sum: Some(buckets.sum),
            bucket_counts,
            // The last one has none.
            explicit_bounds: bounds.filter(|bound| bound.is_finite()).collect(),
            ..HistogramDataPoint::default()
        }
    };
    all.into_iter().map(point).collect()
}

fn attributes(labels: Vec<Label>) -> Vec<KeyValue> {
    let attribute = |(key, value)| KeyValue {
        key,
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value)),
        }),
        ..KeyValue::default()
    };
    labels.into_iter().map(attribute).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::open_metrics::parse;

    #[test]
    fn a_histogram_has_the_counts_of_each_bucket() {
        let text = "# TYPE t_seconds histogram\n\
                    t_seconds_sum{a=\"x\"} 2.5\nt_seconds_count{a=\"x\"} 4\n\
                    t_seconds_bucket{le=\"0.5\",a=\"x\"} 1\nt_seconds_bucket{le=\"1.0\",a=\"x\"} 3\n\
                    t_seconds_bucket{le=\"+Inf\",a=\"x\"} 4\n";
        let [family] = parse(text).try_into().unwrap();
        let metric = metric(family, (1, 2));
        assert_eq!(
            (metric.name.as_str(), metric.unit.as_str()),
            ("t_seconds", "s")
        );
        let Some(Data::Histogram(histogram)) = metric.data else {
            panic!("{metric:?}");
        };
        let [point] = histogram.data_points.as_slice() else {
            panic!("{histogram:?}");
        };
        assert_eq!(point.bucket_counts, [1, 2, 1]);
        assert_eq!(point.explicit_bounds, [0.5, 1.0]);
        assert_eq!((point.count, point.sum), (4, Some(2.5)));
        assert_eq!(point.attributes.len(), 1);
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1, 2));
    }

    #[test]
    fn a_counter_keeps_the_name_that_the_text_has() {
        let text = "# TYPE c counter\nc_total{a=\"x\"} 7\nc_total{a=\"y\"} 0.5\n";
        let [family] = parse(text).try_into().unwrap();
        let metric = metric(family, (1, 2));
        assert_eq!(metric.name, "c_total");
        let Some(Data::Sum(sum)) = metric.data else {
            panic!("{metric:?}");
        };
        let values: Vec<_> = sum.data_points.iter().map(|point| point.value).collect();
        assert_eq!(values, [Some(Value::AsInt(7)), Some(Value::AsDouble(0.5))]);
        assert!(sum.is_monotonic);
    }
}
