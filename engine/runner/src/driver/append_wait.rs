//! How a driver waits for an append.

use std::future::poll_fn;
use std::num::NonZero;
use std::pin::pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// How long a driver looks for the end of its append before its thread sleeps: longer than a fast
/// disk takes to write. To wake a sleeping thread takes a good part of that time.
const SPIN: Duration = Duration::from_micros(200);

/// The appends of all engines of this process that are under way: they share its processors.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// Whether another thread can write while one looks.
static HAS_ROOM: LazyLock<bool> =
    LazyLock::new(|| available_parallelism().map_or(1, NonZero::get) > 1);

/// Waits for `append`. While it is the only one under way, keeps its thread awake for up to
/// [`SPIN`]; where there are several, the threads have other work meanwhile.
///
/// Cancel safe, if `append` is.
pub(super) async fn wait_for<T>(append: impl Future<Output = T>) -> T {
    let _under_way = UnderWay::begin();
    let mut append = pin!(append);
    let spin_end = Instant::now() + SPIN;
    poll_fn(|context| {
        loop {
            if let Poll::Ready(done) = append.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            let is_alone = UNDER_WAY.load(Ordering::Relaxed) == 1;
            if !is_alone || !*HAS_ROOM || Instant::now() >= spin_end {
                return Poll::Pending;
            }
            std::hint::spin_loop();
        }
    })
    .await
}

/// Counts an append until it is dropped.
struct UnderWay;

impl UnderWay {
    fn begin() -> Self {
        UNDER_WAY.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
    }
}
