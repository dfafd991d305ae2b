use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, Metric, ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::metric::metric;
use super::open_metrics::Family;
use crate::telemetry::resource;

/// Points in one request. Collectors refuse requests of more than 4 MiB by gRPC; a point has some
/// hundred bytes.
const MAX_POINTS: usize = 4096;

/// Who counts, and since when.
pub(super) struct Origin {
    resource: Resource,
    start_nanos: u64,
}

/// A request, with the number of points that it has.
pub(super) struct Message {
    pub(super) request: ExportMetricsServiceRequest,
    pub(super) points: u64,
}

impl Origin {
    pub(super) fn new(resource: &opentelemetry_sdk::Resource, start: SystemTime) -> Self {
        Self {
            resource: resource::message(resource),
            start_nanos: nanos(start),
        }
    }

    /// The values of all series at `time`, in as many requests as they need.
    pub(super) fn messages(&self, families: Vec<Family>, time: SystemTime) -> Vec<Message> {
        let span = (self.start_nanos, nanos(time));
        let mut messages = Vec::new();
        let (mut metrics, mut points) = (Vec::new(), 0);
        for metric in families
            .into_iter()
            .flat_map(|family| split(metric(family, span)))
        {
            let more = count(&metric);
            if points + more > MAX_POINTS && points > 0 {
                messages.push(self.message(std::mem::take(&mut metrics), points));
                points = 0;
            }
            metrics.push(metric);
            points += more;
        }
        if points > 0 {
            messages.push(self.message(metrics, points));
        }
        messages
    }

    fn message(&self, metrics: Vec<Metric>, points: usize) -> Message {
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(resource::scope()),
                    metrics,
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        };
        Message {
            request,
            points: points as u64,
        }
    }
}

/// A metric in parts that have no more points than one request.
fn split(mut metric: Metric) -> Vec<Metric> {
    let parts: Vec<Data> = match metric.data.take() {
        Some(Data::Sum(sum)) => chunks(sum.data_points)
            .map(|data_points| Data::Sum(Sum { data_points, ..sum }))
            .collect(),
        Some(Data::Gauge(gauge)) => chunks(gauge.data_points)
            .map(|data_points| Data::Gauge(Gauge { data_points }))
            .collect(),
        Some(Data::Histogram(histogram)) => chunks(histogram.data_points)
            .map(|data_points| {
                Data::Histogram(Histogram {
                    data_points,
                    ..histogram
                })
            })
            .collect(),
        _ => Vec::new(),
    };
    let part = |data| Metric {
        data: Some(data),
        ..metric.clone()
    };
    parts.into_iter().map(part).collect()
}

/// The points in their order. None at all for none: a metric without points is not sent.
fn chunks<P>(points: Vec<P>) -> impl Iterator<Item = Vec<P>> {
    let mut points = points.into_iter();
    std::iter::from_fn(move || {
        let chunk: Vec<_> = points.by_ref().take(MAX_POINTS).collect();
        (!chunk.is_empty()).then_some(chunk)
    })
}

fn count(metric: &Metric) -> usize {
    match &metric.data {
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        _ => 0,
    }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::open_metrics::parse;

    #[test]
    fn many_points_are_several_requests() {
        let lines = (0..10_000).map(|number| format!("g{{n=\"{number}\"}} {number}\n"));
        let text = format!(
            "# TYPE a gauge\na 1\n# TYPE e gauge\n# TYPE g gauge\n{}",
            lines.collect::<String>()
        );
        let origin = Origin {
            resource: Resource::default(),
            start_nanos: 1,
        };
        let messages = origin.messages(parse(&text), UNIX_EPOCH);
        let points: Vec<_> = messages.iter().map(|message| message.points).collect();
        assert_eq!(points, [1, 4096, 4096, 1808]);
        let metrics = messages.iter().flat_map(|message| {
            let resource = &message.request.resource_metrics[0];
            resource.scope_metrics[0].metrics.iter()
        });
        let metrics: Vec<_> = metrics.collect();
        assert_eq!(metrics.len(), 4, "a metric without points is left out");
        assert_eq!(metrics.iter().copied().map(count).sum::<usize>(), 10_001);
        assert!(origin.messages(Vec::new(), UNIX_EPOCH).is_empty());
    }
}
