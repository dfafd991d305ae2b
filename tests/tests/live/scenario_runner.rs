//! Runs a scenario: a server, readers and journals, all in this process.

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

use crate::expectations::Expectations;
use crate::journal_author::JournalAuthor;
use crate::reader::{Reader, ReaderControl, WatchMethod};
use crate::scenario::{Scenario, Step};
use crate::test_server::TestServer;

/// The readers that the scenario disturbs: how each watches, and whether it watches all
/// deployments or only the first.
const DISTURBED_READERS: [(WatchMethod, bool); crate::scenario::READERS] = [
    (WatchMethod::HubSubscription, false),
    (WatchMethod::HubSubscription, true),
    (WatchMethod::HubStream, false),
    (WatchMethod::HubStream, false),
    (WatchMethod::EventStream, false),
    (WatchMethod::EventStream, true),
    (WatchMethod::WebSocket, false),
    (WatchMethod::WebSocket, true),
];
/// Readers that only see restarts.
const UNDISTURBED_READERS: [(WatchMethod, bool); 2] = [
    (WatchMethod::HubSubscription, false),
    (WatchMethod::EventStream, false),
];
/// Time limit of each step, and of the readers after the last step.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Shared by all scenarios, because it is expensive to create. No strategy runs on it.
static HOST: LazyLock<Host> = LazyLock::new(|| {
    let host = Host::new(hotswap_plugins::Limits::default());
    host.expect("a host")
});

/// Runs the scenario.
///
/// # Errors
/// If a reader did not receive what it should.
pub fn run(scenario: &Scenario) -> Result<()> {
    let mut runtime = if scenario.parallel {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = runtime.worker_threads(2).enable_all().build()?;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let result = runtime.block_on(run_in(scenario, folder.path()));
    runtime.shutdown_background();
    result
}

async fn run_in(scenario: &Scenario, folder: &Path) -> Result<()> {
    let mut runner = ScenarioRunner::start(scenario, folder).await?;
    for (number, step) in scenario.steps.iter().enumerate() {
        let result = tokio::time::timeout(TIMEOUT, runner.step(step)).await;
        result.with_context(|| format!("step {number} did not finish in time"))??;
    }
    runner.end().await
}

/// The state of a running scenario.
struct ScenarioRunner<'a> {
    folder: &'a Path,
    queue_capacity: usize,
    server: Option<TestServer>,
    addr: watch::Sender<std::net::SocketAddr>,
    last_position: watch::Sender<Option<u64>>,
    authors: Vec<JournalAuthor>,
    controls: Vec<Arc<ReaderControl>>,
    readers: JoinSet<(usize, Result<Reader>)>,
}

impl<'a> ScenarioRunner<'a> {
    async fn start(scenario: &Scenario, folder: &'a Path) -> Result<Self> {
        let server = TestServer::start(folder, &HOST, scenario.queue_capacity).await?;
        let first = JournalAuthor::create(&server.store, "first").await?;
        let mut runner = Self {
            folder,
            queue_capacity: scenario.queue_capacity,
            addr: watch::Sender::new(server.addr),
            last_position: watch::Sender::new(None),
            authors: vec![first],
            controls: Vec::new(),
            readers: JoinSet::new(),
            server: Some(server),
        };
        let cut_after = scenario.cut_after.iter().cloned().map(VecDeque::from);
        let cut_after = cut_after.chain(std::iter::repeat_with(VecDeque::new));
        for ((method, all), cut_after) in DISTURBED_READERS
            .iter()
            .chain(&UNDISTURBED_READERS)
            .zip(cut_after)
        {
            let watched = (!all).then_some(runner.authors[0].id);
            let mut reader = runner.reader(*method, watched)?;
            reader.cut_after = cut_after;
            let number = runner.controls.len();
            runner.controls.push(Arc::clone(&reader.control));
            runner
                .readers
                .spawn(async move { (number, reader.run().await) });
        }
        Ok(runner)
    }

    fn server(&self) -> Result<&TestServer> {
        self.server.as_ref().context("no server runs")
    }

    /// A reader that starts before the first event.
    fn reader(&self, method: WatchMethod, watched: Option<DeploymentId>) -> Result<Reader> {
        let epoch = self.server()?.store.epoch();
        let position = match (method, watched) {
            (WatchMethod::HubSubscription | WatchMethod::HubStream, _) => "0".to_owned(),
            (WatchMethod::EventStream | WatchMethod::WebSocket, None) => format!("{epoch}:0"),
            // A stream of one deployment starts at its first event by default.
            (WatchMethod::EventStream | WatchMethod::WebSocket, Some(_)) => String::new(),
        };
        Ok(Reader {
            method,
            watched,
            addr: self.addr.subscribe(),
            control: Arc::default(),
            cut_after: VecDeque::new(),
            last_position: self.last_position.subscribe(),
            epoch: epoch.to_string(),
            position,
            received: Vec::new(),
            reconnects: 0,
        })
    }

    async fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Write {
                deployment,
                events,
                long_text,
            } => {
                self.ensure_created(*deployment).await?;
                let store = self.server()?.store.clone();
                self.authors[*deployment]
                    .write(&store, events, *long_text)
                    .await
            }
            Step::Cut(reader) => {
                self.controls[*reader].cut.notify_one();
                Ok(())
            }
            Step::Stall(reader) => {
                self.controls[*reader].stalled.send_replace(true);
                Ok(())
            }
            Step::Unstall(reader) => {
                self.controls[*reader].stalled.send_replace(false);
                Ok(())
            }
            Step::Restart { killed } => self.restart(*killed, self.queue_capacity).await,
            Step::Yield(times) => {
                for _ in 0..*times {
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
            Step::CatchUp => {
                let undisturbed = self.controls.last().context("no readers")?;
                let written = usize::try_from(self.authors[0].written)?;
                let mut received = undisturbed.received_count.subscribe();
                received.wait_for(|count| *count >= written).await?;
                Ok(())
            }
        }
    }

    /// Creates the second deployment before its first events are written.
    async fn ensure_created(&mut self, deployment: usize) -> Result<()> {
        if self.authors.len() <= deployment {
            let second = JournalAuthor::create(&self.server()?.store, "second").await?;
            self.authors.push(second);
        }
        Ok(())
    }

    async fn restart(&mut self, killed: bool, queue_capacity: usize) -> Result<()> {
        let server = self.server.take().context("no server runs")?;
        server.stop(killed).await;
        let server = TestServer::start(self.folder, &HOST, queue_capacity).await?;
        self.addr.send_replace(server.addr);
        self.server = Some(server);
        Ok(())
    }

    /// Ends all deployments, and compares what each reader received with the journals.
    async fn end(mut self) -> Result<()> {
        self.ensure_created(1).await?;
        let store = self.server()?.store.clone();
        for author in &mut self.authors {
            author.end(&store).await?;
        }
        self.last_position
            .send_replace(Some(store.last_position().await?));
        for control in &self.controls {
            control.stalled.send_replace(false);
        }
        let readers = self.finished_readers().await?;
        // With a queue that holds everything, a new reader gets everything from the beginning.
        self.restart(false, 1 << 20).await?;
        let store = self.server()?.store.clone();
        let (mut journals, mut streamed) = (BTreeMap::new(), BTreeMap::new());
        for author in &self.authors {
            let id = author.id;
            journals.insert(id, store.events(id, 0, usize::MAX).await?);
            let reader = self.reader(WatchMethod::HubStream, Some(id))?.run();
            let reader = tokio::time::timeout(TIMEOUT, reader);
            streamed.insert(
                id,
                reader
                    .await
                    .context("the stream did not end in time")??
                    .received,
            );
        }
        let expectations = Expectations::new(journals, &streamed)?;
        let late_reader = self.reader(WatchMethod::HubSubscription, None)?.run();
        let late_reader = tokio::time::timeout(TIMEOUT, late_reader).await;
        let late_reader = late_reader.context("the late reader did not finish in time")??;
        expectations
            .check(&late_reader)
            .context("the late reader")?;
        for (number, reader) in readers.iter().enumerate() {
            let (method, watched, reconnects) = (reader.method, reader.watched, reader.reconnects);
            expectations.check(reader).with_context(|| {
                format!("reader {number}, {method:?} of {watched:?}, which reconnected {reconnects} times")
            })?;
        }
        let server = self.server.take().context("no server runs")?;
        server.stop(false).await;
        Ok(())
    }

    /// Waits until all readers have read everything, and returns them in order.
    async fn finished_readers(&mut self) -> Result<Vec<Reader>> {
        let mut finished = BTreeMap::new();
        let reading = async {
            while let Some(read) = self.readers.join_next().await {
                let (number, reader) = read?;
                let reader = reader.with_context(|| format!("reader {number}"))?;
                finished.insert(number, reader);
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(TIMEOUT, reading).await {
            Ok(done) => done?,
            Err(_) => {
                let unfinished = (0..self.controls.len()).filter(|it| !finished.contains_key(it));
                let unfinished: Vec<_> = unfinished
                    .map(|it| {
                        format!(
                            "{it}, which received {}",
                            *self.controls[it].received_count.borrow()
                        )
                    })
                    .collect();
                bail!("these readers did not finish: {}", unfinished.join("; "));
            }
        }
        Ok(finished.into_values().collect())
    }
}
