//! The events of a deployment, from the first to the last, each once and in order,
//! whatever becomes of the connection.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use hotswap_core::{Body, DeploymentId};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::client::{Client, Error, Recorded};

/// The engine answers after so long though nothing has happened; proxies cut what is
/// silent for a minute.
const WAIT: Duration = Duration::from_secs(30);

/// What a follower hears.
#[derive(Debug)]
pub enum News {
    /// The next events.
    Events(Vec<Recorded>),
    /// There are no more events than those told, for now.
    UpToDate,
    /// The engine cannot be heard, and is asked again; this is why.
    Cut(Error),
    /// The engine would not, and asking again does not help. Nothing follows.
    Refused(Error),
}

/// Follows one deployment until it has ended; dropping it ends that.
pub struct Follower {
    news: mpsc::Receiver<News>,
    _task: AbortOnDropHandle<()>,
}

impl Follower {
    /// Begins with the first event. Must be called within a runtime.
    pub fn new(client: Client, id: DeploymentId) -> Self {
        let (tell, news) = mpsc::channel(4);
        let task = tokio::spawn(async move { follow(&client, id, &tell).await });
        Self {
            news,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// What comes next; nothing after the last event. Safe to cancel.
    pub async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }
}

async fn follow(client: &Client, id: DeploymentId, tell: &mpsc::Sender<News>) {
    let mut next = 0;
    // Nothing is waited for until all that is there has been read.
    let mut wait = Duration::ZERO;
    let mut pauses = pauses();
    loop {
        let after = u64::checked_sub(next, 1);
        let news = match client.events(id, after, wait).await {
            Ok(mut events) => {
                pauses = self::pauses();
                // What was asked for twice is told once.
                events.retain(|recorded| recorded.event.seq >= next);
                let last = events.last().map(|recorded| &recorded.event);
                let ended = last.is_some_and(|event| matches!(event.body, Body::Ended { .. }));
                next = last.map_or(next, |event| event.seq + 1);
                wait = if events.is_empty() {
                    WAIT
                } else {
                    Duration::ZERO
                };
                let news = if events.is_empty() {
                    News::UpToDate
                } else {
                    News::Events(events)
                };
                if tell.send(news).await.is_err() || ended {
                    return;
                }
                continue;
            }
            Err(error) if error.may_pass() => News::Cut(error),
            Err(error) => News::Refused(error),
        };
        let over = matches!(news, News::Refused(_));
        if tell.send(news).await.is_err() || over {
            return;
        }
        wait = Duration::ZERO;
        tokio::time::sleep(pauses.next().unwrap_or(LONGEST)).await;
    }
}

/// The longest pause: an engine that has come back is heard soon.
const LONGEST: Duration = Duration::from_secs(3);

fn pauses() -> impl Iterator<Item = Duration> + use<> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(LONGEST)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests;
