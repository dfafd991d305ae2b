use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{AcqRel, Acquire, Release},
};
use std::time::{Duration, Instant};

/// What the node observes of one request while it runs. The request's body, the run of the
/// module, the response's body and the tracker share it.
#[derive(Debug)]
pub(super) struct Exchange {
    started: Instant,
    /// How long the module may take.
    time_limit: Duration,
    /// See [`Exchange::has_failed`].
    failed: AtomicBool,
    /// The module waits for more of the request's body.
    pub(super) upload: ClientWait,
    /// The module may wait for the client to read more of the response's body.
    pub(super) download: ClientWait,
    upload_broke: AtomicBool,
    upload_was_slow: AtomicBool,
}

pub(super) type SharedExchange = Arc<Exchange>;

/// How long a client is waited for.
#[derive(Debug)]
pub(super) struct ClientWait {
    started: Instant,
    /// Microseconds, except for the wait under way.
    waited: AtomicU64,
    /// When the wait that is under way began, in microseconds after `started` and plus one. 0
    /// where there is none.
    since: AtomicU64,
}

impl ClientWait {
    fn new(started: Instant) -> Self {
        Self {
            started,
            waited: AtomicU64::new(0),
            since: AtomicU64::new(0),
        }
    }

    /// The client is waited for from now on, if it was not already.
    pub(super) fn begin(&self) {
        let now = self.now();
        let _ = self.since.compare_exchange(0, now, AcqRel, Acquire);
    }

    /// The client is not waited for any more.
    pub(super) fn end(&self) {
        if self.since.load(Acquire) > 0 {
            let since = self.since.swap(0, AcqRel);
            let waited = self.now().saturating_sub(since);
            self.waited.fetch_add(waited, AcqRel);
        }
    }

    /// How long it was waited for until now.
    pub(super) fn total(&self) -> Duration {
        let under_way = match self.since.load(Acquire) {
            0 => 0,
            since => self.now().saturating_sub(since),
        };
        Duration::from_micros(self.waited.load(Acquire).saturating_add(under_way))
    }

    fn now(&self) -> u64 {
        let micros = u64::try_from(self.started.elapsed().as_micros());
        micros.unwrap_or(u64::MAX).saturating_add(1)
    }
}

impl Exchange {
    /// A request that starts now, and for which the module may take `time_limit`.
    pub(super) fn start(time_limit: Duration) -> SharedExchange {
        let started = Instant::now();
        Arc::new(Self {
            started,
            time_limit,
            failed: AtomicBool::new(false),
            upload: ClientWait::new(started),
            download: ClientWait::new(started),
            upload_broke: AtomicBool::new(false),
            upload_was_slow: AtomicBool::new(false),
        })
    }

    /// The client broke its upload off, or sent what is no body.
    pub(super) fn set_upload_broke(&self) {
        self.upload_broke.store(true, Release);
    }

    pub(super) fn has_upload_broken(&self) -> bool {
        self.upload_broke.load(Acquire)
    }

    /// The node answers that the client's upload took too long.
    pub(super) fn set_upload_was_slow(&self) {
        self.upload_was_slow.store(true, Release);
    }

    pub(super) fn was_upload_slow(&self) -> bool {
        self.upload_was_slow.load(Acquire)
    }

    /// The module ends by a trap or a time-out. Call this before its streams are closed.
    pub(super) fn set_failed(&self) {
        self.failed.store(true, Release);
    }

    /// Whether the module ended by a trap or a time-out. Its streams then look as if they had
    /// ended normally, so that only this tells a truncated body from a complete one.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Acquire)
    }

    /// How long the version has taken until now, without the time in which it waited for the
    /// client.
    pub(super) fn own_time(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.client_time())
    }

    /// Whether the module has no time left because the client was slow: at least half of its time
    /// limit, it waited for the client.
    pub(super) fn is_held_up_by_client(&self) -> bool {
        self.client_time() >= self.time_limit / 2
    }

    fn client_time(&self) -> Duration {
        self.upload.total() + self.download.total()
    }
}
