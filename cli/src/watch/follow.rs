//! The events of a deployment, from the first to the last, each once and in order,
//! whatever becomes of the connection.

use std::future::Future;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use hotswap_core::{DeploymentId, EventBody};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::client::{Break, Client, Error, Recorded, Told};

/// The engine gives a sign of life every 15 seconds at least: by then two have been
/// missed, and a third is late.
const SILENCE: Duration = Duration::from_secs(45);

/// The longest pause: an engine that has come back is heard soon.
const LONGEST: Duration = Duration::from_secs(3);

/// What a follower hears.
#[derive(Debug)]
pub enum News {
    /// The next events.
    Events(Vec<Recorded>),
    /// All events have been told, for now: those that follow happen from here on, until
    /// there is a cut.
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
        Self::with(client, id, || tokio::time::sleep(SILENCE))
    }

    /// With another measure of silence: what it returns is over once that is too long.
    fn with<F, S>(client: Client, id: DeploymentId, silence: F) -> Self
    where
        F: Fn() -> S + Send + Sync + 'static,
        S: Future<Output = ()> + Send,
    {
        let (tell, news) = mpsc::channel(4);
        let mut line = Line {
            client,
            id,
            tell,
            silence,
            place: Place::default(),
            pauses: pauses(),
        };
        let task = tokio::spawn(async move { line.follow().await });
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

/// The way from the engine to whoever listens.
struct Line<F> {
    client: Client,
    id: DeploymentId,
    tell: mpsc::Sender<News>,
    silence: F,
    place: Place,
    pauses: Pauses,
}

impl<F, S> Line<F>
where
    F: Fn() -> S + Send + Sync,
    S: Future<Output = ()> + Send,
{
    async fn follow(&mut self) {
        while let Err(error) = self.connect().await {
            let again = error.may_pass();
            let news = if again { News::Cut } else { News::Refused };
            if self.tell.send(news(error)).await.is_err() || !again {
                return;
            }
            tokio::time::sleep(self.pauses.next().unwrap_or(LONGEST)).await;
        }
    }

    /// Tells on what comes over one connection. No error where all has been told, or nobody
    /// listens.
    async fn connect(&mut self) -> Result<(), Error> {
        let last = self.place.last.as_deref();
        let Some(mut stream) = self.hear(self.client.stream(self.id, last)).await? else {
            return Err(self.place.lost(&self.client));
        };
        loop {
            let told = self.hear(stream.next()).await?;
            let mut news = Vec::new();
            let ended = self.place.take(told, &mut news, &self.client);
            if !news.is_empty() {
                self.pauses = pauses();
            }
            for news in news {
                if self.tell.send(news).await.is_err() {
                    return Ok(());
                }
            }
            if ended? {
                return Ok(());
            }
        }
    }

    /// What comes, where it does before the silence is too long.
    async fn hear<T>(&self, coming: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            biased;
            heard = coming => heard,
            () = (self.silence)() => Err(self.client.broke(Break::Silent)),
        }
    }
}

/// How far a deployment has been told.
#[derive(Default)]
struct Place {
    /// The number of the next event.
    next: u64,
    /// What the engine called the one before.
    last: Option<String>,
}

impl Place {
    /// Takes in what was told, makes news of it, and says whether that was all there will
    /// ever be. Where there is an error, the news are what came before it.
    fn take(
        &mut self,
        told: Vec<Result<Told, Error>>,
        news: &mut Vec<News>,
        client: &Client,
    ) -> Result<bool, Error> {
        for told in told {
            match told? {
                // What is told twice is passed on once.
                Told::Event(recorded, _) if recorded.event.seq < self.next => {}
                Told::Event(recorded, _) if recorded.event.seq > self.next => {
                    return Err(client.broke(Break::Gap(self.next)));
                }
                Told::Event(recorded, id) => {
                    self.next += 1;
                    self.last = id;
                    let ended = matches!(recorded.event.body, EventBody::Ended { .. });
                    match news.last_mut() {
                        Some(News::Events(events)) => events.push(*recorded),
                        _ => news.push(News::Events(vec![*recorded])),
                    }
                    if ended {
                        return Ok(true);
                    }
                }
                Told::Live => news.push(News::UpToDate),
                Told::End => return Err(self.lost(client)),
            }
        }
        Ok(false)
    }

    /// The engine says that this was all, and yet the last event was not told: what it is
    /// asked with does not say how far it got. It is asked for everything.
    fn lost(&mut self, client: &Client) -> Error {
        self.last = None;
        client.broke(Break::Gap(self.next))
    }
}

type Pauses = <ExponentialBuilder as BackoffBuilder>::Backoff;

/// Each is up to as long again, by chance: not all who were cut off come back at once.
fn pauses() -> Pauses {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(LONGEST / 2)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests;
