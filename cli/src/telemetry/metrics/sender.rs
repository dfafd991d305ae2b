use std::io::Write as _;

use anyhow::{Context as _, Result, anyhow, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use hotswap_common::tls::ClientTls;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message as _;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;

use crate::config::OtlpProtocol;
use crate::telemetry::connection;
use crate::telemetry::settings::MetricSettings;

/// Bytes of an answer that are read. Larger ones say nothing that is understood.
const MAX_ANSWER: usize = 64 * 1024;
/// Characters of a collector's own words in the log.
const MAX_REASON: usize = 300;

/// Sends requests to a collector.
pub(super) enum Sender {
    Grpc {
        client: MetricsServiceClient<Channel>,
        headers: HeaderMap,
    },
    Http {
        client: reqwest::Client,
        url: String,
        headers: HeaderMap,
        is_compressed: bool,
    },
}

/// What a collector has not taken of a request that it answered with a success.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rejected {
    pub(super) points: u64,
    pub(super) reason: String,
}

impl Sender {
    /// Connects with the first request.
    ///
    /// # Errors
    /// Where a client cannot be created.
    pub(super) fn new(settings: &MetricSettings, tls: &ClientTls) -> Result<Self> {
        let (collector, headers) = (&settings.collector, settings.headers.clone());
        Ok(match collector.protocol {
            OtlpProtocol::Grpc => {
                let mut client = MetricsServiceClient::new(connection::channel(collector, tls)?);
                if collector.is_compressed {
                    client = client.send_compressed(CompressionEncoding::Gzip);
                }
                Self::Grpc {
                    client: client.max_decoding_message_size(MAX_ANSWER),
                    headers,
                }
            }
            OtlpProtocol::HttpProtobuf => Self::Http {
                client: connection::http_client(collector, tls)?,
                url: collector.endpoint.clone(),
                headers,
                is_compressed: collector.is_compressed,
            },
        })
    }

    /// Sends one request. Returns what the collector rejects of it.
    ///
    /// # Errors
    /// Where the collector cannot be reached, or takes nothing. No error repeats a header.
    pub(super) async fn send(
        &self,
        request: ExportMetricsServiceRequest,
    ) -> Result<Option<Rejected>> {
        let answer = match self {
            Self::Grpc { client, headers } => {
                let mut request = tonic::Request::new(request);
                *request.metadata_mut() = MetadataMap::from_headers(headers.clone());
                let answer = client.clone().export(request).await;
                answer.map_err(|status| reason(&status))?.into_inner()
            }
            Self::Http {
                client,
                url,
                headers,
                is_compressed,
            } => {
                let mut body = request.encode_to_vec();
                let mut request = client
                    .post(url)
                    .headers(headers.clone())
                    .header(CONTENT_TYPE, "application/x-protobuf");
                if *is_compressed {
                    body = compressed(&body)?;
                    request = request.header(CONTENT_ENCODING, "gzip");
                }
                let request = request.body(body);
                read_answer(request).await?
            }
        };
        Ok(rejected(answer))
    }
}

fn compressed(body: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body)?;
    Ok(encoder.finish()?)
}

async fn read_answer(request: reqwest::RequestBuilder) -> Result<ExportMetricsServiceResponse> {
    let answer = request.send().await.map_err(reqwest::Error::without_url);
    let mut answer = answer.context("cannot reach it")?;
    let status = answer.status();
    ensure!(status.is_success(), "it answers {status}");
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Ok(ExportMetricsServiceResponse::default());
        }
        body.extend_from_slice(&chunk);
    }
    // The status has said that the request was taken.
    Ok(ExportMetricsServiceResponse::decode(&*body).unwrap_or_default())
}

/// Why a call failed. Not the status itself: it repeats headers of the answer.
fn reason(status: &tonic::Status) -> anyhow::Error {
    let mut texts = vec![shortened(status.message())];
    let mut source = std::error::Error::source(status);
    while let Some(cause) = source {
        texts.push(shortened(&cause.to_string()));
        source = cause.source();
    }
    // Each layer repeats the one below.
    texts.dedup();
    anyhow!("{:?}: {}", status.code(), texts.join(": "))
}

fn rejected(answer: ExportMetricsServiceResponse) -> Option<Rejected> {
    let partial = answer.partial_success?;
    let points = u64::try_from(partial.rejected_data_points).unwrap_or(0);
    (points > 0).then(|| Rejected {
        points,
        reason: format!(
            "it rejects some points: {}",
            shortened(&partial.error_message)
        ),
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_REASON).collect()
}
