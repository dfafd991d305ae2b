use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, sleep_until};

/// Receives from a [`tokio::sync::broadcast`] channel in batches: the first message at once, and
/// what follows it after a rest, together.
///
/// For a task that need not know of a message at once. Otherwise each of thousands of messages a
/// second wakes the task, and takes a processor from the sender on a small machine. The channel
/// needs room for all messages of one rest.
#[derive(Debug)]
pub struct BatchReceiver<T> {
    receiver: Receiver<T>,
    rest: Duration,
    /// Until when nothing is waited for; `None` if the last rest brought nothing.
    rests_until: Option<Instant>,
}

impl<T: Clone> BatchReceiver<T> {
    /// Receives from `receiver`, and rests for `rest` after each batch.
    #[must_use]
    pub fn new(receiver: Receiver<T>, rest: Duration) -> Self {
        Self {
            receiver,
            rest,
            rests_until: None,
        }
    }

    /// The next message. Cancel safe.
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    pub async fn recv(&mut self) -> Result<T, RecvError> {
        loop {
            let received = match self.receiver.try_recv() {
                Ok(message) => Ok(message),
                Err(TryRecvError::Lagged(missed)) => Err(RecvError::Lagged(missed)),
                Err(TryRecvError::Closed) => return Err(RecvError::Closed),
                Err(TryRecvError::Empty) => match self.rests_until {
                    Some(end) => {
                        sleep_until(end).await;
                        self.rests_until = None;
                        continue;
                    }
                    None => self.receiver.recv().await,
                },
            };
            self.rests_until = Some(Instant::now() + self.rest);
            return received;
        }
    }

    /// The next message, if there is one.
    ///
    /// # Errors
    /// As [`Receiver::try_recv`].
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.receiver.try_recv()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    use tokio::sync::broadcast;

    use super::*;

    const REST: Duration = Duration::from_millis(5);

    struct CountedWakes(AtomicUsize);

    impl Wake for CountedWakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_message_comes_at_once_and_those_after_it_together() {
        let (sender, receiver) = broadcast::channel(8);
        let mut batches = BatchReceiver::new(receiver, REST);
        let start = Instant::now();
        sender.send(1).unwrap();
        assert_eq!(batches.recv().await, Ok(1));
        assert_eq!(start.elapsed(), Duration::ZERO);

        let wakes = Arc::new(CountedWakes(AtomicUsize::new(0)));
        {
            let waker = Waker::from(Arc::clone(&wakes));
            let mut next = pin!(batches.recv());
            assert!(
                next.as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
            sender.send(2).unwrap();
            sender.send(3).unwrap();
            assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
            assert_eq!(next.await, Ok(2));
        }
        assert_eq!(batches.recv().await, Ok(3));
        assert!(start.elapsed() >= REST && start.elapsed() < 2 * REST);

        drop(sender);
        assert_eq!(batches.recv().await, Err(RecvError::Closed));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_lost_in_a_rest_is_told() {
        let (sender, receiver) = broadcast::channel(2);
        let mut batches = BatchReceiver::new(receiver, REST);
        sender.send(0).unwrap();
        assert_eq!(batches.recv().await, Ok(0));
        for number in 1..=3 {
            sender.send(number).unwrap();
        }
        assert_eq!(batches.recv().await, Err(RecvError::Lagged(1)));
        assert_eq!(batches.recv().await, Ok(2));
        assert_eq!(batches.recv().await, Ok(3));
    }
}
