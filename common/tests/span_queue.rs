//! Whom spans wake when they end. One test, because a process has one tracer.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use hotswap_common::trace::{self, Kind, Sampler, Span, TraceContext};

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const CAPACITY: usize = 6;
const BATCH: usize = 4;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn end_a_span() {
    let caller: TraceContext = SAMPLED.parse().unwrap();
    drop(Span::continuing(Some(caller), "test", Kind::Internal));
}

#[test]
fn whoever_waits_is_woken_for_a_batch_and_not_for_each_span() {
    let mut queue = trace::install(Sampler::new(1.0, true), CAPACITY, BATCH).unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut task = Context::from_waker(&waker);
    for round in 0..2 {
        {
            let mut batch = pin!(queue.wait_for_batch());
            for _ in 1..BATCH {
                assert_eq!(batch.as_mut().poll(&mut task), Poll::Pending);
                end_a_span();
            }
            assert_eq!(wakes.0.load(Ordering::SeqCst), round);
            end_a_span();
            assert_eq!(wakes.0.load(Ordering::SeqCst), round + 1);
            assert_eq!(batch.as_mut().poll(&mut task), Poll::Ready(()));
        }
        assert_eq!(queue.take_batch().len(), BATCH);
        assert!(queue.is_empty());
    }
    for _ in 0..CAPACITY + 3 {
        end_a_span();
    }
    assert_eq!(trace::counts().dropped, 3);
    assert_eq!(queue.take_batch().len(), BATCH);
    assert_eq!(queue.take_batch().len(), CAPACITY - BATCH);
    assert!(queue.take_batch().is_empty());
}
