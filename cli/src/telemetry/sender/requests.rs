//! What the requests of both signals have in common.

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// A request that brings something to a collector.
pub(in crate::telemetry) trait Export: Message + Default {
    /// What it brings, in the plural.
    const WHAT: &'static str;

    type Answer: Message + Default;
    type Client: Clone + Send + Sync;

    /// A client that sends such requests by gRPC, and reads answers of `max_answer` bytes at most.
    fn client(channel: Channel, is_compressed: bool, max_answer: usize) -> Self::Client;

    /// Sends it by gRPC.
    fn call(
        client: Self::Client,
        request: Request<Self>,
    ) -> impl Future<Output = Result<Self::Answer, Status>> + Send;

    /// What an answer says of what was not taken.
    fn partial(answer: Self::Answer) -> Option<Partial>;
}

/// The part of a success that is none.
pub(in crate::telemetry) struct Partial {
    pub(in crate::telemetry) rejected: i64,
    pub(in crate::telemetry) message: String,
}

/// Implements [`Export`] for a request. The generated clients have no trait in common.
macro_rules! impl_export {
    ($request:ty, $answer:ty, $client:ident, $what:literal, $rejected:ident) => {
        impl Export for $request {
            const WHAT: &'static str = $what;

            type Answer = $answer;
            type Client = $client<Channel>;

            fn client(channel: Channel, is_compressed: bool, max_answer: usize) -> Self::Client {
                let client = $client::new(channel).max_decoding_message_size(max_answer);
                match is_compressed {
                    true => client.send_compressed(CompressionEncoding::Gzip),
                    false => client,
                }
            }

            async fn call(
                mut client: Self::Client,
                request: Request<Self>,
            ) -> Result<Self::Answer, Status> {
                Ok(client.export(request).await?.into_inner())
            }

            fn partial(answer: Self::Answer) -> Option<Partial> {
                answer.partial_success.map(|partial| Partial {
                    rejected: partial.$rejected,
                    message: partial.error_message,
                })
            }
        }
    };
}

impl_export!(
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
    MetricsServiceClient,
    "points",
    rejected_data_points
);
impl_export!(
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
    TraceServiceClient,
    "spans",
    rejected_spans
);
