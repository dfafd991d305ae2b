use std::collections::BTreeMap;

use hyper::header::HeaderMap;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, HistogramDataPoint, Metric, NumberDataPoint,
};

use super::attributes;

/// A request with metrics of one process, as it came.
#[derive(Debug, Clone)]
pub struct ReceivedMetrics {
    /// By their names.
    pub metrics: BTreeMap<String, ReceivedMetric>,
    /// The attributes of the process.
    pub resource: BTreeMap<String, String>,
    /// The protocol by which it came: `grpc` or `http/protobuf`.
    pub protocol: &'static str,
    /// The headers of the request.
    pub headers: HeaderMap,
    /// Whether the body of the request was compressed.
    pub is_compressed: bool,
}

/// A metric with its points.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedMetric {
    /// What it says.
    pub description: String,
    /// In the letters of UCUM.
    pub unit: String,
    /// What it is: `counter` if it only rises and counts from the start of the process, `gauge`,
    /// `histogram` if that counts from the start of the process, or else what it is.
    pub kind: String,
    /// Its points.
    pub points: Vec<ReceivedPoint>,
}

/// What a series is at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedPoint {
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// The value of a counter or of a gauge, the sum of a histogram.
    pub value: f64,
    /// How many values a histogram has.
    pub count: u64,
    /// The bounds of a histogram, each with how many values are not above it. The last one is
    /// infinite.
    pub buckets: Vec<(f64, u64)>,
    /// Since when it counts, in nanoseconds since 1970.
    pub start: u64,
    /// When it was read.
    pub time: u64,
}

impl ReceivedMetrics {
    /// The name of the service that has sent it.
    pub fn service(&self) -> &str {
        self.resource.get("service.name").map_or("", String::as_str)
    }

    /// When its points were read: all at once.
    pub fn time(&self) -> u64 {
        let points = self.metrics.values().flat_map(|metric| &metric.points);
        points.map(|point| point.time).max().unwrap_or(0)
    }
}

/// All metrics of a request, by process.
pub(super) fn received_metrics(
    request: ExportMetricsServiceRequest,
    protocol: &'static str,
    (headers, is_compressed): (&HeaderMap, bool),
) -> Vec<ReceivedMetrics> {
    let of_process = request.resource_metrics.into_iter().map(|process| {
        let scopes = process.scope_metrics.into_iter();
        let metrics = scopes.flat_map(|scope| scope.metrics);
        ReceivedMetrics {
            metrics: metrics.map(received_metric).collect(),
            resource: attributes(process.resource.unwrap_or_default().attributes),
            protocol,
            headers: headers.clone(),
            is_compressed,
        }
    });
    of_process.collect()
}

fn received_metric(metric: Metric) -> (String, ReceivedMetric) {
    let (kind, points) = match metric.data {
        Some(Data::Sum(sum)) => (
            match (sum.is_monotonic, is_cumulative(sum.aggregation_temporality)) {
                (true, true) => "counter",
                (true, false) => "monotonic sum that is not cumulative",
                (false, _) => "sum that is not monotonic",
            },
            sum.data_points.into_iter().map(number).collect(),
        ),
        Some(Data::Gauge(gauge)) => ("gauge", gauge.data_points.into_iter().map(number).collect()),
        Some(Data::Histogram(histogram)) => (
            match is_cumulative(histogram.aggregation_temporality) {
                true => "histogram",
                false => "histogram that is not cumulative",
            },
            histogram.data_points.into_iter().map(buckets).collect(),
        ),
        _ => ("unknown", Vec::new()),
    };
    let received = ReceivedMetric {
        description: metric.description,
        unit: metric.unit,
        kind: kind.to_owned(),
        points,
    };
    (metric.name, received)
}

fn is_cumulative(temporality: i32) -> bool {
    temporality == AggregationTemporality::Cumulative as i32
}

fn number(point: NumberDataPoint) -> ReceivedPoint {
    ReceivedPoint {
        attributes: attributes(point.attributes),
        value: match point.value {
            Some(Value::AsInt(whole)) => whole as f64,
            Some(Value::AsDouble(value)) => value,
            None => f64::NAN,
        },
        count: 0,
        buckets: Vec::new(),
        start: point.start_time_unix_nano,
        time: point.time_unix_nano,
    }
}

fn buckets(point: HistogramDataPoint) -> ReceivedPoint {
    let bounds = point.explicit_bounds.into_iter().chain([f64::INFINITY]);
    let mut up_to = 0;
    let buckets = bounds.zip(point.bucket_counts).map(|(bound, count)| {
        up_to += count;
        (bound, up_to)
    });
    ReceivedPoint {
        buckets: buckets.collect(),
        attributes: attributes(point.attributes),
        value: point.sum.unwrap_or(f64::NAN),
        count: point.count,
        start: point.start_time_unix_nano,
        time: point.time_unix_nano,
    }
}
