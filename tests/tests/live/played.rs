//! A story, played.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hotswap_core::DeploymentId;
use hotswap_plugins::Host;
use hotswap_store::Journal;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::account::Account;
use crate::author::Author;
use crate::reader::{Reader, Reins, Way};
use crate::served::Served;
use crate::story::{Step, Story};

/// What readers are done to; and whether they watch all deployments or the first.
const DISTURBED: [(Way, bool); crate::story::READERS] = [
    (Way::Hub, false),
    (Way::Hub, true),
    (Way::Stream, false),
    (Way::Stream, false),
    (Way::Sse, false),
    (Way::Sse, true),
    (Way::Socket, false),
    (Way::Socket, true),
];
/// Readers that only have to live with restarts.
const STEADY: [(Way, bool); 2] = [(Way::Hub, false), (Way::Sse, false)];
/// How long readers may take for the rest once everything has happened.
const PATIENCE: Duration = Duration::from_secs(30);

/// Expensive to make, and nothing runs on it.
static HOST: LazyLock<Host> = LazyLock::new(|| {
    let host = Host::new(hotswap_plugins::Limits::default());
    host.expect("a host")
});

/// Plays the story.
///
/// # Errors
/// Where a reader has not heard what it should.
pub fn play(story: &Story) -> Result<()> {
    let mut runtime = if story.parallel {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = runtime.worker_threads(2).enable_all().build()?;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let played = runtime.block_on(played(story, folder.path()));
    runtime.shutdown_background();
    played
}

async fn played(story: &Story, folder: &Path) -> Result<()> {
    let mut stage = Stage::set(story, folder).await?;
    for (number, step) in story.steps.iter().enumerate() {
        let stepped = tokio::time::timeout(PATIENCE, stage.step(step)).await;
        stepped.with_context(|| format!("step {number} takes too long"))??;
    }
    stage.end().await
}

/// All that a story is played with.
struct Stage<'a> {
    folder: &'a Path,
    capacity: usize,
    served: Option<Served>,
    addr: watch::Sender<std::net::SocketAddr>,
    last: watch::Sender<Option<u64>>,
    authors: Vec<Author>,
    reins: Vec<Arc<Reins>>,
    readers: JoinSet<(usize, Result<Reader>)>,
}

impl<'a> Stage<'a> {
    async fn set(story: &Story, folder: &'a Path) -> Result<Self> {
        let served = Served::start(folder, &HOST, story.capacity).await?;
        let first = Author::begin(&served.store, "first").await?;
        let mut stage = Self {
            folder,
            capacity: story.capacity,
            addr: watch::Sender::new(served.addr),
            last: watch::Sender::new(None),
            authors: vec![first],
            reins: Vec::new(),
            readers: JoinSet::new(),
            served: Some(served),
        };
        let cuts = story.cuts.iter().cloned().map(VecDeque::from);
        let cuts = cuts.chain(std::iter::repeat_with(VecDeque::new));
        for ((way, all), cuts) in DISTURBED.iter().chain(&STEADY).zip(cuts) {
            let watched = (!all).then_some(stage.authors[0].id);
            let mut reader = stage.reader(*way, watched)?;
            reader.cuts = cuts;
            let number = stage.reins.len();
            stage.reins.push(Arc::clone(&reader.reins));
            stage
                .readers
                .spawn(async move { (number, reader.run().await) });
        }
        Ok(stage)
    }

    fn served(&self) -> Result<&Served> {
        self.served.as_ref().context("nothing is served")
    }

    /// Somebody who begins before the first event.
    fn reader(&self, way: Way, watched: Option<DeploymentId>) -> Result<Reader> {
        let epoch = self.served()?.store.epoch().to_owned();
        let place = match (way, watched) {
            (Way::Hub | Way::Stream, _) => "0".to_owned(),
            (Way::Sse | Way::Socket, None) => format!("{epoch}:0"),
            // The first comes first.
            (Way::Sse | Way::Socket, Some(_)) => String::new(),
        };
        Ok(Reader {
            way,
            watched,
            addr: self.addr.subscribe(),
            reins: Arc::default(),
            cuts: VecDeque::new(),
            last: self.last.subscribe(),
            epoch,
            place,
            heard: Vec::new(),
            lost: 0,
        })
    }

    async fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Write {
                deployment,
                turns,
                wordy,
            } => {
                self.both_from(*deployment).await?;
                let store = self.served()?.store.clone();
                self.authors[*deployment].write(&store, turns, *wordy).await
            }
            Step::Cut(reader) => {
                self.reins[*reader].cut.notify_one();
                Ok(())
            }
            Step::Stall(reader) => {
                self.reins[*reader].stalled.send_replace(true);
                Ok(())
            }
            Step::Wake(reader) => {
                self.reins[*reader].stalled.send_replace(false);
                Ok(())
            }
            Step::Restart { killed } => self.restart(*killed, self.capacity).await,
            Step::Pause(turns) => {
                for _ in 0..*turns {
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
            Step::Settle => {
                let steady = self.reins.last().context("no readers")?;
                let written = usize::try_from(self.authors[0].written)?;
                let mut heard = steady.heard.subscribe();
                heard.wait_for(|heard| *heard >= written).await?;
                Ok(())
            }
        }
    }

    /// The second deployment begins when it is first written of.
    async fn both_from(&mut self, deployment: usize) -> Result<()> {
        if self.authors.len() <= deployment {
            let second = Author::begin(&self.served()?.store, "second").await?;
            self.authors.push(second);
        }
        Ok(())
    }

    async fn restart(&mut self, killed: bool, capacity: usize) -> Result<()> {
        let served = self.served.take().context("nothing is served")?;
        served.stop(killed).await;
        let served = Served::start(self.folder, &HOST, capacity).await?;
        self.addr.send_replace(served.addr);
        self.served = Some(served);
        Ok(())
    }

    /// Ends all deployments, and holds what each reader has heard against the journals.
    async fn end(mut self) -> Result<()> {
        self.both_from(1).await?;
        let store = self.served()?.store.clone();
        for author in &mut self.authors {
            author.end(&store).await?;
        }
        self.last.send_replace(Some(store.last_position().await?));
        for reins in &self.reins {
            reins.stalled.send_replace(false);
        }
        let readers = self.gathered().await?;
        // On a server that has kept everything, who begins anew is told everything.
        self.restart(false, 1 << 20).await?;
        let store = self.served()?.store.clone();
        let (mut journals, mut streamed) = (BTreeMap::new(), BTreeMap::new());
        for author in &self.authors {
            let id = author.id;
            journals.insert(id, store.events(id, 0, usize::MAX).await?);
            let reader = self.reader(Way::Stream, Some(id))?.run();
            let reader = tokio::time::timeout(PATIENCE, reader);
            streamed.insert(id, reader.await.context("no stream in time")??.heard);
        }
        let account = Account::new(journals, &streamed)?;
        let late = self.reader(Way::Hub, None)?.run();
        let late = tokio::time::timeout(PATIENCE, late).await;
        let late = late.context("all was not told in time")??;
        account.settle(&late).context("told from the beginning")?;
        for (number, reader) in readers.iter().enumerate() {
            let (way, watched, lost) = (reader.way, reader.watched, reader.lost);
            account.settle(reader).with_context(|| {
                format!("reader {number}, {way:?} of {watched:?}, which came back {lost} times")
            })?;
        }
        let served = self.served.take().context("nothing is served")?;
        served.stop(false).await;
        Ok(())
    }

    /// All readers, once they have heard all.
    async fn gathered(&mut self) -> Result<Vec<Reader>> {
        let mut gathered = BTreeMap::new();
        let gathering = async {
            while let Some(read) = self.readers.join_next().await {
                let (number, reader) = read?;
                let reader = reader.with_context(|| format!("reader {number}"))?;
                gathered.insert(number, reader);
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(PATIENCE, gathering).await {
            Ok(done) => done?,
            Err(_) => {
                let missing = (0..self.reins.len()).filter(|it| !gathered.contains_key(it));
                let missing: Vec<_> = missing
                    .map(|it| format!("{it}, which heard {}", *self.reins[it].heard.borrow()))
                    .collect();
                bail!("readers are not done: {}", missing.join("; "));
            }
        }
        Ok(gathered.into_values().collect())
    }
}
