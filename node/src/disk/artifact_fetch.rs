use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use hotswap_common::Backoff;
use hotswap_common::trace::{Kind, Span, within};
use hotswap_core::Digest;
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio::time::Instant;

use super::artifact_error::Error;
use super::partial_artifact::PartialArtifact;
use crate::engine_client::EngineClient;

/// A connection that is silent for this long is given up, and the fetch goes on over a new
/// one.
const MAX_SILENCE: Duration = Duration::from_secs(15);

/// Delays between attempts. They start over whenever bytes have arrived.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(200);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);

/// How much of an artifact has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FetchProgress {
    /// In bytes.
    pub(crate) received: u64,
    /// Size of the artifact, once the engine has told it.
    pub(crate) total: Option<u64>,
}

/// The fetch of one artifact. Whoever needs the artifact waits for the same one.
#[derive(Debug, Default)]
pub(super) struct FetchState {
    /// Held by the task that fetches.
    pub(super) lock: tokio::sync::Mutex<()>,
    progress: Mutex<Option<FetchProgress>>,
}

impl FetchState {
    /// `None` while nobody fetches.
    pub(super) fn progress(&self) -> Option<FetchProgress> {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, progress: Option<FetchProgress>) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }
}

/// Fetches an artifact from the engine, piece by piece over as many connections as it takes.
pub(super) struct ArtifactFetch<'a> {
    pub(super) engine: &'a EngineClient,
    pub(super) digest: Digest,
    /// Largest artifact that is fetched, in bytes.
    pub(super) max_bytes: u64,
    /// How long to try while no byte arrives.
    pub(super) stall: Duration,
    pub(super) state: &'a FetchState,
}

/// Clears the progress when the fetch ends, also when it is cancelled.
struct ClearProgress<'a>(&'a FetchState);

impl Drop for ClearProgress<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

/// The last time that a byte arrived.
struct LastArrival(Instant);

impl ArtifactFetch<'_> {
    /// Fetches what is missing in the file `partial`, then renames it to `target`.
    ///
    /// Cancel safe: the bytes that have arrived stay on disk.
    ///
    /// # Errors
    /// At once if a retry cannot succeed, otherwise once no byte has arrived for
    /// [`Self::stall`].
    pub(super) async fn run(&self, partial: &Path, target: &Path) -> Result<(), Error> {
        let write_error = |source| Error::Write {
            path: partial.to_owned(),
            source,
        };
        let _clear = ClearProgress(self.state);
        let mut bytes = PartialArtifact::open(partial.to_owned())
            .await
            .map_err(write_error)?;
        let mut last_arrival = LastArrival(Instant::now());
        let mut backoff = Backoff::new(MIN_RETRY_DELAY, MAX_RETRY_DELAY);
        let mut was_cleared = bytes.length() == 0;
        loop {
            let before = bytes.length();
            let is_whole = before > 0 && bytes.digest() == self.digest;
            let attempt = if is_whole {
                Ok(())
            } else {
                self.attempt(&mut bytes, &mut last_arrival).await
            };
            let error = match attempt {
                Ok(()) => {
                    let actual = bytes.digest();
                    if actual == self.digest {
                        return bytes.persist(target).await.map_err(write_error);
                    }
                    bytes.clear().await.map_err(write_error)?;
                    if was_cleared {
                        return Err(Error::DigestMismatch {
                            expected: self.digest,
                            actual,
                        });
                    }
                    // A crash may have damaged what was on disk.
                    tracing::warn!(digest = %self.digest, "the part of an artifact on disk is damaged, fetching it anew");
                    was_cleared = true;
                    continue;
                }
                Err(error @ Error::TooLarge { .. }) => {
                    bytes.clear().await.map_err(write_error)?;
                    return Err(error);
                }
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            if bytes.length() > before {
                backoff.reset();
            }
            let delay = backoff.next_delay();
            if last_arrival.0.elapsed() + delay >= self.stall {
                return Err(error);
            }
            tracing::info!(%error, ?delay, received = bytes.length(), "cannot fetch an artifact, retrying");
            tokio::time::sleep(delay).await;
        }
    }

    /// Fetches what is missing over one connection.
    async fn attempt(
        &self,
        bytes: &mut PartialArtifact,
        last_arrival: &mut LastArrival,
    ) -> Result<(), Error> {
        let mut span = Span::child("module.download", Kind::Client);
        span.set("http.request.method", "GET");
        self.engine.describe(&mut span);
        let context = span.context();
        let result = within(context, self.download(bytes, last_arrival, &mut span)).await;
        if let Err(error) = &result {
            span.fail_as(error.kind(), error);
        }
        result
    }

    async fn download(
        &self,
        bytes: &mut PartialArtifact,
        last_arrival: &mut LastArrival,
        span: &mut Span,
    ) -> Result<(), Error> {
        let digest = self.digest;
        self.report(bytes, None);
        let path = format!("/api/v1/artifacts/{digest}");
        let mut request = self.engine.request(Method::GET, &path);
        if bytes.length() > 0 {
            request = request.header(RANGE, format!("bytes={}-", bytes.length()));
        }
        let fetch_error = |received| {
            move |source| Error::Fetch {
                digest,
                received,
                source,
            }
        };
        let silence = MAX_SILENCE.min(self.stall);
        let silent = |received| Error::Silent {
            digest,
            received,
            span: silence,
        };
        let response = tokio::time::timeout(silence, request.send()).await;
        let response = response
            .map_err(|_| silent(bytes.length()))?
            .map_err(fetch_error(bytes.length()))?;
        span.set("http.response.status_code", response.status().as_u16());
        let total = self.check_head(bytes, &response).await?;
        if total.is_some_and(|total| total > self.max_bytes) {
            return Err(self.too_large());
        }
        self.report(bytes, total);
        let mut chunks = response.bytes_stream();
        loop {
            let next = tokio::time::timeout(silence, chunks.next()).await;
            let Some(chunk) = next.map_err(|_| silent(bytes.length()))? else {
                return Ok(());
            };
            let chunk = chunk.map_err(fetch_error(bytes.length()))?;
            if bytes.length() + chunk.len() as u64 > self.max_bytes {
                return Err(self.too_large());
            }
            bytes.append(&chunk).await.map_err(|source| Error::Write {
                path: path.clone().into(),
                source,
            })?;
            last_arrival.0 = Instant::now();
            self.report(bytes, total);
        }
    }

    /// Checks that the response holds what is missing, or the whole artifact. Returns the
    /// artifact's size, if it is known.
    async fn check_head(
        &self,
        bytes: &mut PartialArtifact,
        response: &Response,
    ) -> Result<Option<u64>, Error> {
        let write_error = |source| Error::Write {
            path: self.digest.hex().into(),
            source,
        };
        match response.status() {
            StatusCode::OK => {
                // It is whole: an engine that does not send parts.
                bytes.clear().await.map_err(write_error)?;
                Ok(response.content_length())
            }
            StatusCode::PARTIAL_CONTENT => {
                let range = response.headers().get(CONTENT_RANGE);
                let range = range.and_then(|range| parse_content_range(range.to_str().ok()?));
                match range {
                    Some((start, total)) if start == bytes.length() => Ok(total),
                    _ => Err(Error::WrongRange(self.digest)),
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                // There is more on disk than the artifact has.
                bytes.clear().await.map_err(write_error)?;
                Err(Error::WrongRange(self.digest))
            }
            status => Err(Error::Status {
                digest: self.digest,
                status,
            }),
        }
    }

    fn too_large(&self) -> Error {
        Error::TooLarge {
            digest: self.digest,
            max_bytes: self.max_bytes,
        }
    }

    fn report(&self, bytes: &PartialArtifact, total: Option<u64>) {
        let known = self.state.progress().and_then(|progress| progress.total);
        self.state.set(Some(FetchProgress {
            received: bytes.length(),
            total: total.or(known),
        }));
    }
}

/// The first byte and the size of the whole in `bytes 7-99/100`.
fn parse_content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_has_a_start_and_perhaps_a_total() {
        assert_eq!(parse_content_range("bytes 7-99/100"), Some((7, Some(100))));
        assert_eq!(parse_content_range("bytes 7-99/*"), Some((7, None)));
        for invalid in ["bytes */100", "7-99/100", "bytes x-9/10", ""] {
            assert_eq!(parse_content_range(invalid), None, "{invalid}");
        }
    }
}
