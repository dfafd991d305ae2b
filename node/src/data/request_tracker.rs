use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::counters::{ClientFault, VersionCounters};
use super::exchange::SharedExchange;
use super::module_metrics::Measurements;

/// A response whose body the version writes for longer than this is a stream. Its latency counts
/// up to here: how long it goes on is up to what is streamed.
const STREAM_AFTER: Duration = Duration::from_secs(5);

/// A client that has waited this long for the version shows at least how slow the version is, so
/// its wait counts as a latency. Otherwise a version that hangs would go unseen where clients are
/// impatient.
const TELLING_WAIT: Duration = Duration::from_secs(1);

/// Tracks a request from its head to the end of the response, and counts it when dropped.
///
/// Only what the version did counts as its request: neither a request that the client left before
/// it was answered, nor one whose client was too slow. Those have counters of their own.
#[derive(Debug)]
pub(crate) struct RequestTracker {
    counters: Arc<VersionCounters>,
    exchange: SharedExchange,
    progress: Progress,
    status: StatusCode,
    /// After this, a response is a stream: [`STREAM_AFTER`], but in tests.
    stream_after: Duration,
    /// How long the version took until the head of its response.
    head_after: Duration,
    /// What the response says of the module's own metrics.
    measurements: Measurements,
}

/// How far the response came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Waiting,
    Answering,
    /// It is a stream, and was counted.
    Streaming,
    Broken,
    Complete,
}

impl RequestTracker {
    /// Begins to track a request.
    pub(super) fn new(counters: Arc<VersionCounters>, exchange: SharedExchange) -> Self {
        counters.count_received();
        Self {
            counters,
            exchange,
            progress: Progress::Waiting,
            status: StatusCode::OK,
            stream_after: STREAM_AFTER,
            head_after: Duration::ZERO,
            measurements: Measurements::default(),
        }
    }

    /// Records what the response says of the module's own metrics. Where the request counts, they
    /// do.
    pub(super) fn set_measurements(&mut self, measurements: Measurements) {
        self.measurements = measurements;
    }

    /// Records the status of the response. Its body is still to be sent.
    pub(super) fn set_status(&mut self, status: StatusCode) {
        self.status = status;
        self.progress = Progress::Answering;
        self.head_after = self.exchange.own_time();
    }

    /// Records that more of the body was sent.
    pub(super) fn body_goes_on(&mut self) {
        let is_stream = self.exchange.own_time() > self.head_after + self.stream_after;
        if self.progress == Progress::Answering && is_stream {
            self.progress = Progress::Streaming;
            self.counters.count_stream();
            self.count_request();
        }
    }

    /// Records that the response broke off.
    pub(super) fn set_broken(&mut self) {
        if self.progress == Progress::Streaming {
            if !self.exchange.is_held_up_by_client() {
                self.counters.count_error();
            }
        } else {
            self.progress = Progress::Broken;
        }
    }

    /// Records that the whole body was sent.
    pub(super) fn set_complete(&mut self) {
        if self.progress == Progress::Answering {
            self.progress = Progress::Complete;
        }
    }

    /// The time that the version took, without its client's.
    fn latency(&self) -> Duration {
        let longest = self.head_after + self.stream_after;
        self.exchange.own_time().min(longest)
    }

    fn count_request(&self) {
        self.counters.count_request(self.latency());
        self.counters.count_metrics(&self.measurements);
    }

    fn count(&self) {
        let (counters, exchange) = (&self.counters, &self.exchange);
        // The node's own code failed with this version, and that is not the client's fault.
        if std::thread::panicking() {
            if self.progress != Progress::Streaming {
                self.count_request();
            }
            return counters.count_error();
        }
        let broke = match self.progress {
            Progress::Streaming => return,
            _ if exchange.has_upload_broken() => {
                return counters.count_client_fault(ClientFault::Left);
            }
            Progress::Waiting => {
                let waited = exchange.own_time();
                if waited >= TELLING_WAIT {
                    counters.count_latency(waited);
                }
                return counters.count_client_fault(ClientFault::Left);
            }
            Progress::Complete => false,
            Progress::Broken => true,
            // The client left. Where the version had failed before, that was why.
            Progress::Answering if exchange.has_failed() => true,
            Progress::Answering if self.status.is_server_error() => false,
            Progress::Answering => return counters.count_client_fault(ClientFault::Left),
        };
        if exchange.was_upload_slow() || (broke && exchange.is_held_up_by_client()) {
            let is_reader = exchange.download.total() > exchange.upload.total();
            return counters.count_client_fault(if is_reader {
                ClientFault::SlowReader
            } else {
                ClientFault::SlowUpload
            });
        }
        self.count_request();
        if broke || self.status.is_server_error() {
            counters.count_error();
        }
    }
}

impl Drop for RequestTracker {
    fn drop(&mut self) {
        self.count();
        self.counters.count_finished();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use hotswap_core::Histogram;
    use hotswap_protocol::{ClientFaults, Version, VersionStatus};

    use super::super::exchange::Exchange;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn counters() -> Arc<VersionCounters> {
        let version = Version {
            version: "1.0.0".to_owned(),
            digest: "sha256:".to_owned(),
        };
        VersionCounters::new(version, Arc::default())
    }

    /// The counters after a request that went as `go` says.
    fn after(limit: Duration, go: impl FnOnce(&mut RequestTracker)) -> VersionStatus {
        let counters = counters();
        let mut tracker = RequestTracker::new(counters.clone(), Exchange::start(limit));
        assert_eq!(counters.status().in_flight, 1);
        go(&mut tracker);
        drop(tracker);
        let status = counters.status();
        assert_eq!(status.in_flight, 0);
        status
    }

    fn answer(tracker: &mut RequestTracker, status: u16) {
        tracker.set_status(StatusCode::from_u16(status).unwrap());
    }

    #[test]
    fn what_the_version_answers_counts_as_its_request() {
        let answered = |status: u16| {
            after(LIMIT, |tracker| {
                answer(tracker, status);
                tracker.set_complete();
            })
        };
        for (status, errors) in [(200, 0), (404, 0), (408, 0), (500, 1), (503, 1)] {
            let counted = answered(status);
            assert_eq!((counted.requests, counted.errors), (1, errors), "{status}");
            assert_eq!(counted.latency.iter().map(|b| b.count).sum::<u64>(), 1);
            assert_eq!(counted.client, ClientFaults::default());
        }
        let broken = after(LIMIT, |tracker| {
            answer(tracker, 200);
            tracker.set_broken();
        });
        assert_eq!((broken.requests, broken.errors), (1, 1));
        let failed_then_left = after(LIMIT, |tracker| {
            answer(tracker, 200);
            tracker.exchange.set_failed();
        });
        assert_eq!((failed_then_left.requests, failed_then_left.errors), (1, 1));
        let left_a_failure = after(LIMIT, |tracker| answer(tracker, 500));
        assert_eq!((left_a_failure.requests, left_a_failure.errors), (1, 1));
    }

    #[test]
    fn a_panic_of_the_node_in_a_request_counts_as_an_error() {
        let panics = |go: fn(&mut RequestTracker)| {
            let counters = counters();
            let mut tracker = RequestTracker::new(counters.clone(), Exchange::start(LIMIT));
            let panicked = std::panic::catch_unwind(AssertUnwindSafe(move || {
                go(&mut tracker);
                panic!("as the test wants");
            }));
            assert!(panicked.is_err());
            counters.status()
        };
        let waiting = panics(|_| {});
        let answering = panics(|tracker| answer(tracker, 200));
        let uploading = panics(|tracker| tracker.exchange.set_upload_broke());
        for counted in [waiting, answering, uploading] {
            assert_eq!((counted.requests, counted.errors), (1, 1));
            assert_eq!((counted.client.left, counted.in_flight), (0, 0));
        }
        let streaming = panics(|tracker| {
            tracker.stream_after = Duration::ZERO;
            answer(tracker, 200);
            std::thread::sleep(Duration::from_millis(1));
            tracker.body_goes_on();
        });
        assert_eq!((streaming.requests, streaming.errors), (1, 1));
    }

    #[test]
    fn a_client_that_leaves_is_not_the_versions_request() {
        let before = after(LIMIT, |_| {});
        let midway = after(LIMIT, |tracker| answer(tracker, 200));
        let in_its_upload = after(LIMIT, |tracker| {
            tracker.exchange.set_upload_broke();
            answer(tracker, 500);
            tracker.set_complete();
        });
        for counted in [before, midway, in_its_upload] {
            assert_eq!((counted.requests, counted.errors), (0, 0));
            assert!(counted.latency.is_empty());
            assert_eq!(counted.client.left, 1);
        }
    }

    #[test]
    fn a_slow_client_is_not_the_versions_request() {
        let uploading = after(Duration::ZERO, |tracker| {
            tracker.exchange.set_upload_was_slow();
            answer(tracker, 408);
            tracker.set_complete();
        });
        assert_eq!((uploading.requests, uploading.client.slow_uploads), (0, 1));
        let reading = after(Duration::ZERO, |tracker| {
            answer(tracker, 200);
            tracker.exchange.download.begin();
            std::thread::sleep(Duration::from_millis(1));
            tracker.exchange.set_failed();
            tracker.set_broken();
        });
        assert_eq!((reading.requests, reading.client.slow_readers), (0, 1));
    }

    /// A client ends a long stream by leaving. That the stream went on says nothing of latency.
    #[test]
    fn a_long_stream_counts_when_it_is_known_to_be_one() {
        let stream = |then: fn(&mut RequestTracker)| {
            after(LIMIT, |tracker| {
                tracker.stream_after = Duration::ZERO;
                answer(tracker, 200);
                std::thread::sleep(Duration::from_millis(1));
                tracker.body_goes_on();
                assert_eq!(tracker.counters.status().requests, 1, "at once");
                tracker.body_goes_on();
                std::thread::sleep(Duration::from_millis(20));
                then(tracker);
            })
        };
        for (end, errors) in [
            ((|_| {}) as fn(&mut RequestTracker), 0),
            (RequestTracker::set_complete, 0),
            (RequestTracker::set_broken, 1),
        ] {
            let counted = stream(end);
            assert_eq!((counted.requests, counted.streams), (1, 1));
            assert_eq!((counted.errors, counted.client.left), (errors, 0));
            let latency = Histogram::upper_micros(counted.latency[0].bucket.into());
            assert!(latency < 15_000, "{latency}");
        }
    }

    #[test]
    fn time_in_which_the_module_waits_for_the_client_is_no_latency() {
        let exchange = Exchange::start(Duration::from_millis(40));
        exchange.upload.begin();
        std::thread::sleep(Duration::from_millis(20));
        assert!(exchange.is_held_up_by_client(), "also while it waits");
        exchange.upload.end();
        let own = exchange.own_time();
        assert!(own < Duration::from_millis(15), "{own:?}");
    }
}
