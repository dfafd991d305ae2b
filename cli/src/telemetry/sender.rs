use std::io::Write as _;

use anyhow::{Context as _, Result, anyhow, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use hotswap_common::tls::ClientTls;
use prost::Message;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use tonic::metadata::MetadataMap;

use super::connection;
use super::settings::Collector;
use crate::config::OtlpProtocol;

mod requests;

pub(super) use requests::Export;
use requests::Partial;

/// Bytes of an answer that are read. Larger ones say nothing that is understood.
const MAX_ANSWER: usize = 64 * 1024;
/// Characters of a collector's own words in the log.
const MAX_REASON: usize = 300;

/// Sends requests of one kind to a collector.
pub(super) enum Sender<R: Export> {
    Grpc {
        client: R::Client,
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
    /// How many points or spans.
    pub(super) count: u64,
    pub(super) reason: String,
}

impl<R: Export> Sender<R> {
    /// Connects with the first request.
    ///
    /// # Errors
    /// Where a client cannot be created.
    pub(super) fn new(collector: &Collector, headers: &HeaderMap, tls: &ClientTls) -> Result<Self> {
        let headers = headers.clone();
        Ok(match collector.protocol {
            OtlpProtocol::Grpc => {
                let channel = connection::channel(collector, tls)?;
                Self::Grpc {
                    client: R::client(channel, collector.is_compressed, MAX_ANSWER),
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
    pub(super) async fn send(&self, request: R) -> Result<Option<Rejected>> {
        let answer = match self {
            Self::Grpc { client, headers } => {
                let mut request = tonic::Request::new(request);
                *request.metadata_mut() = MetadataMap::from_headers(headers.clone());
                let answer = R::call(client.clone(), request).await;
                answer.map_err(|status| reason(&status))?
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
        Ok(R::partial(answer).and_then(rejected::<R>))
    }
}

fn compressed(body: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body)?;
    Ok(encoder.finish()?)
}

async fn read_answer<A: Message + Default>(request: reqwest::RequestBuilder) -> Result<A> {
    let answer = request.send().await.map_err(reqwest::Error::without_url);
    let mut answer = answer.context("cannot reach it")?;
    let status = answer.status();
    ensure!(status.is_success(), "it answers {status}");
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Ok(A::default());
        }
        body.extend_from_slice(&chunk);
    }
    // The status has said that the request was taken.
    Ok(A::decode(&*body).unwrap_or_default())
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

/// `None` where nothing is lost: collectors may also warn in this way.
fn rejected<R: Export>(partial: Partial) -> Option<Rejected> {
    let count = u64::try_from(partial.rejected).unwrap_or(0);
    (count > 0).then(|| Rejected {
        count,
        reason: format!(
            "it rejects some {}: {}",
            R::WHAT,
            shortened(&partial.message)
        ),
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_REASON).collect()
}
