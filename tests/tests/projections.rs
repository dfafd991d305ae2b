//! What is read of deployments costs the same whatever their history is.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use hotswap_core::{Append, Call, Deployment, DeploymentId, Event, EventBody, Level, Status};
use hotswap_store::{AppendError, Head, Journal, Lease, LeaseError, Query, ReadError, Snapshot};
use hotswap_tests::{
    Cluster, EMAIL, InterceptedJournal, Interceptor, StaticFleet, UndecidedJournal, sample_header,
};
use serde_json::json;

const PRODUCTION: &str = "production";
/// Time limit of every wait.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Counts what is read of journals.
#[derive(Default)]
struct Counts {
    /// Events that were read.
    events: AtomicU64,
    /// Reads from the start of a journal.
    from_start: AtomicU64,
    /// The same, when the first deployment ended.
    from_start_at_end: AtomicU64,
    /// The deployments whose summaries were read.
    summarized: Mutex<BTreeSet<DeploymentId>>,
    /// Whether no driver gets a lease, so that only the test appends.
    is_manual: AtomicBool,
}

type CountedJournal = InterceptedJournal<Counts>;

#[async_trait]
impl Interceptor for Counts {
    async fn events(
        &self,
        journal: &dyn Journal,
        deployment: DeploymentId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Event>, ReadError> {
        let events = journal.events(deployment, from, limit).await?;
        self.events.fetch_add(events.len() as u64, Ordering::SeqCst);
        self.note_read(from);
        Ok(events)
    }

    async fn readable_events(
        &self,
        journal: &dyn Journal,
        deployment: DeploymentId,
        from: u64,
    ) -> Result<Vec<Event>, ReadError> {
        self.note_read(from);
        journal.readable_events(deployment, from).await
    }

    async fn summaries(
        &self,
        journal: &dyn Journal,
        deployments: &[DeploymentId],
    ) -> Result<Vec<Option<Snapshot>>, ReadError> {
        self.summarized().extend(deployments);
        journal.summaries(deployments).await
    }

    async fn append(&self, journal: &dyn Journal, append: Append) -> Result<Head, AppendError> {
        let is_end = |body: &EventBody| matches!(body, EventBody::Ended { .. });
        if append.bodies.iter().any(is_end) {
            let count = self.from_start.load(Ordering::SeqCst);
            self.from_start_at_end.store(count, Ordering::SeqCst);
        }
        journal.append(append).await
    }

    async fn acquire_lease(
        &self,
        journal: &dyn Journal,
        deployment: DeploymentId,
    ) -> Result<Lease, LeaseError> {
        if self.is_manual.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        journal.acquire_lease(deployment).await
    }
}

impl Counts {
    fn note_read(&self, from: u64) {
        let is_start = u64::from(from == 0);
        self.from_start.fetch_add(is_start, Ordering::SeqCst);
    }

    /// The events that were read since the last call.
    fn take_events(&self) -> u64 {
        self.events.swap(0, Ordering::SeqCst)
    }

    fn summarized(&self) -> MutexGuard<'_, BTreeSet<DeploymentId>> {
        self.summarized
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn counted(cluster: &Cluster) -> Arc<CountedJournal> {
    let store = Arc::new(cluster.resources.store.clone());
    InterceptedJournal::new(store, Counts::default())
}

/// Waits until every deployment that has ended has its snapshot.
async fn wait_for_snapshots(cluster: &Cluster) -> Result<()> {
    let store = &cluster.resources.store;
    let written = async {
        loop {
            let missing = store.ended_without_snapshot(Deployment::FORMAT, None, 1);
            if missing.await?.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, written).await?
}

async fn cluster_with_history() -> Result<Cluster> {
    let cluster = Cluster::start(&[(PRODUCTION, 2)]).await?;
    cluster.upload_samples().await?;
    let direct = || ("direct", json!({}));
    let canary = || ("canary", json!({ "soak": "1ms" }));
    cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, direct())
        .await?;
    cluster
        .roll_out(("hello", "2.0.0"), PRODUCTION, canary())
        .await?;
    let rolling = ("rolling", json!({ "batch": 1, "settle": "60s" }));
    let aborted = cluster
        .deploy(("hello", "3.0.0"), PRODUCTION, rolling)
        .await?;
    cluster
        .engine
        .deployments
        .abort(aborted, EMAIL, None)
        .await?;
    cluster.wait_for_end(aborted).await?;
    Ok(cluster)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_stored_at_any_event_of_a_real_journal_continues_as_the_fold() -> Result<()> {
    let cluster = cluster_with_history().await?;
    let query = Query {
        limit: 9,
        ..Query::default()
    };
    for id in cluster.resources.store.list(&query).await?.deployments {
        let events = cluster.events(id).await?;
        let whole = Deployment::fold(&events)?;
        for end in 1..=events.len() {
            let json = serde_json::to_vec(&Deployment::fold(&events[..end])?)?;
            let mut stored: Deployment = serde_json::from_slice(&json)?;
            events[end..]
                .iter()
                .try_for_each(|event| stored.apply(event))?;
            assert_eq!(stored, whole, "{id} stored at {end}");
        }
    }
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_ended_deployments_does_not_read_their_journals() -> Result<()> {
    let mut cluster = cluster_with_history().await?;
    wait_for_snapshots(&cluster).await?;
    let journal = counted(&cluster);
    // Nothing but this test reads.
    let store = Arc::new(cluster.resources.store.clone());
    cluster.resources.environment_journal = UndecidedJournal::wrap(store);
    cluster.restart_engine(Arc::clone(&journal) as _).await?;
    let deployments = &cluster.engine.deployments;
    let query = Query {
        limit: 200,
        ..Query::default()
    };
    let (page, more) = deployments.list(&query).await?;
    assert_eq!((page.len(), more), (3, false));
    assert_eq!(journal.take_events(), 0, "a page read events");
    let current = deployments.current(&PRODUCTION.parse()?).await?;
    assert_eq!(current.len(), 1);
    assert_eq!(current[0].module.version.to_string(), "2.0.0");
    assert_eq!(journal.take_events(), 0, "a cluster read events");
    deployments.position().await?;
    for summary in &page {
        let events = cluster.events(summary.id).await?;
        let whole = Deployment::fold(&events)?;
        assert_eq!(deployments.get(summary.id).await?, whole);
        assert_eq!(journal.take_events(), 1, "get reads the last event alone");
        assert_eq!(*summary, whole.summary());
        let abort = deployments.abort(summary.id, EMAIL, None).await;
        assert!(abort.is_err());
        let read = journal.take_events();
        assert!(read <= 1, "an abort reads the last event alone, not {read}");
    }
    cluster.shutdown().await;
    Ok(())
}

/// Nodes wait for what they should run until an engine that starts knows it.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_starts_reads_no_journal_of_what_was_decided_from_its_start() -> Result<()> {
    let mut cluster = cluster_with_history().await?;
    wait_for_snapshots(&cluster).await?;
    let journal = counted(&cluster);
    cluster.restart_engine(Arc::clone(&journal) as _).await?;
    let production = PRODUCTION.parse()?;
    let desired = cluster.engine.reconciler.desired(&production).await?;
    ensure!(!desired.is_empty(), "nothing was decided");
    assert_eq!(journal.from_start.load(Ordering::SeqCst), 0);
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_an_open_deployment_reads_its_snapshot_and_the_events_after_it() -> Result<()> {
    const EVENTS: u64 = 3000;
    let mut cluster = Cluster::start(&[]).await?;
    let journal = counted(&cluster);
    journal.is_manual.store(true, Ordering::SeqCst);
    cluster.restart_engine(Arc::clone(&journal) as _).await?;
    let store = cluster.resources.store.clone();
    let id = create(&store, EVENTS).await?;
    let written = async {
        loop {
            let snapshot = store.snapshot(id).await?;
            if let Some(snapshot) = snapshot.filter(|snapshot| snapshot.next_seq > EVENTS / 2) {
                return anyhow::Ok(snapshot.next_seq);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let written = tokio::time::timeout(TIMEOUT, written).await??;
    cluster.restart_engine(Arc::clone(&journal) as _).await?;
    let deployments = cluster.engine.deployments.clone();
    journal.take_events();
    let state = deployments.get(id).await?;
    assert_eq!(state, Deployment::fold(&cluster.events(id).await?)?);
    let read = journal.take_events();
    assert!(
        read <= EVENTS - written + 1,
        "{read} events after {written} of {EVENTS}"
    );
    // From now on it is in memory.
    append(&store, id, vec![log(EVENTS as u32)]).await?;
    let query = Query {
        limit: 9,
        ..Query::default()
    };
    let (page, _) = deployments.list(&query).await?;
    assert_eq!(page, [deployments.get(id).await?.summary()]);
    let read = journal.take_events();
    assert!(read <= 3, "{read} events for one new one");
    let paused = deployments.pause(id, EMAIL).await?;
    assert_eq!(paused.status(), Status::Paused);
    let read = journal.take_events();
    // Once before the pause, for damage, and once after it, for the new state.
    assert!(read <= 3, "a pause read {read} events");
    cluster.shutdown().await;
    Ok(())
}

/// Creates a journal with this many events: the request, a plan and log messages.
async fn create(store: &impl Journal, events: u64) -> Result<DeploymentId> {
    let header = sample_header("hello")?;
    let id = header.id;
    store.create(header, Default::default()).await?;
    let planned = EventBody::Planned {
        nodes: Vec::new(),
        missing: Vec::new(),
        cordoned: Vec::new(),
    };
    append(store, id, vec![planned]).await?;
    for call in 2..events {
        append(store, id, vec![log(call as u32)]).await?;
    }
    Ok(id)
}

async fn append(store: &impl Journal, id: DeploymentId, bodies: Vec<EventBody>) -> Result<()> {
    let append = Append {
        deployment: id,
        expected: store.head(id).await?.next_seq,
        fence: None,
        at: Default::default(),
        bodies,
    };
    store.append(append).await?;
    Ok(())
}

fn log(call: u32) -> EventBody {
    EventBody::Called {
        call,
        request: Call::Log {
            level: Level::Info,
            message: "a step".to_owned(),
        },
        due: None,
        readings: Vec::new(),
        answer: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_wait_reads_its_journal_once() -> Result<()> {
    const WAITS: u64 = 5;
    let mut cluster = Cluster::start(&[(PRODUCTION, 1)]).await?;
    cluster.upload_samples().await?;
    let steps = hotswap_guests::STEPS.to_vec();
    cluster.engine.strategies.upload(steps, EMAIL).await?;
    cluster.resources.limits.suspend_after = Duration::ZERO;
    let fleet = StaticFleet::new(1).running("1.0.0".parse()?, hotswap_guests::HELLO_V1);
    cluster.resources.fleet = Arc::new(fleet);
    let journal = counted(&cluster);
    cluster.restart_engine(Arc::clone(&journal) as _).await?;
    let config = json!({ "kind": "sleep", "steps": WAITS, "sleep": 50 });
    let id = cluster
        .deploy(("hello", "1.0.0"), PRODUCTION, ("steps", config))
        .await?;
    let store = cluster.resources.store.clone();
    let mut appended = store.subscribe();
    while !store.head(id).await?.lifecycle.is_ended() {
        tokio::time::timeout(TIMEOUT, appended.recv()).await??;
    }
    let state = cluster.engine.deployments.get(id).await?;
    ensure!(state.status() == Status::Succeeded, "{:?}", state.cause);
    // One before the plan, one before the first run, and one after each wait. The end needs none.
    let reads = journal.from_start_at_end.load(Ordering::SeqCst);
    // One more is of the forecast of soaks, unless the deployment ended before its turn.
    ensure!((WAITS + 2..=WAITS + 3).contains(&reads), "{reads} reads");
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_cannot_be_read_is_not_read_anew_by_every_request() -> Result<()> {
    const EVENTS: u64 = 500;
    let mut cluster = Cluster::start(&[]).await?;
    let journal = counted(&cluster);
    journal.is_manual.store(true, Ordering::SeqCst);
    cluster.restart_engine(Arc::clone(&journal) as _).await?;
    let store = cluster.resources.store.clone();
    let id = create(&store, EVENTS).await?;
    cluster.engine.shutdown().await;
    ensure!(cluster.replace_in_journals("\"a step\"", "7")? > 0);
    cluster.restart_engine(Arc::clone(&journal) as _).await?;
    let deployments = cluster.engine.deployments.clone();
    let state = deployments.get(id).await?;
    let damage = state.damage.clone().context("it can be read")?;
    let query = Query {
        limit: 9,
        ..Query::default()
    };
    journal.take_events();
    for _ in 0..9 {
        assert_eq!(deployments.get(id).await?, state);
        let (page, _) = deployments.list(&query).await?;
        assert_eq!(page, [state.summary()]);
    }
    assert_eq!(journal.take_events(), 0);
    // It has grown.
    let by = EMAIL.to_owned();
    let reason = None;
    append(
        &store,
        id,
        vec![EventBody::TerminationRequested { by, reason }],
    )
    .await?;
    let state = deployments.get(id).await?;
    assert_eq!(state.next_seq, EVENTS + 1);
    assert_eq!(state.damage.map(|now| now.seq), Some(damage.seq));
    cluster.shutdown().await;
    Ok(())
}

/// Requests for deployments wait while something is deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_reads_no_open_deployment_twice() -> Result<()> {
    let mut cluster = Cluster::start(&[]).await?;
    cluster.upload_samples().await?;
    let journal = counted(&cluster);
    journal.is_manual.store(true, Ordering::SeqCst);
    cluster.restart_engine(Arc::clone(&journal) as _).await?;
    let store = cluster.resources.store.clone();
    let header = sample_header("other")?;
    let (id, needed) = (header.id, header.module.version.clone());
    store.create(header, Default::default()).await?;
    let modules = cluster.engine.modules.clone();
    let hello = "hello".parse()?;
    ensure!(modules.delete(&hello, &"1.0.0".parse()?).await?);
    journal.take_events();
    // What it needs is not known before it is planned.
    ensure!(modules.delete(&hello, &"2.0.0".parse()?).await?);
    ensure!(journal.take_events() > 0);
    let planned = EventBody::Planned {
        nodes: Vec::new(),
        missing: Vec::new(),
        cordoned: Vec::new(),
    };
    append(&store, id, vec![planned]).await?;
    ensure!(modules.delete(&hello, &"3.0.0".parse()?).await?);
    cluster.upload_samples().await?;
    journal.take_events();
    ensure!(modules.delete(&hello, &"1.0.0".parse()?).await?);
    assert_eq!(journal.take_events(), 0);
    let other = "other".parse()?;
    let refused = modules.delete(&other, &needed).await;
    ensure!(!matches!(refused, Ok(true)), "{refused:?}");
    cluster.shutdown().await;
    Ok(())
}

/// What a deployment can be rolled back to is kept, and follows from the successes before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_reads_earlier_successes_once() -> Result<()> {
    let mut cluster = Cluster::start(&[(PRODUCTION, 1)]).await?;
    cluster.upload_samples().await?;
    let mut current = DeploymentId::generate();
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        cluster
            .upload("other", version, hotswap_guests::HELLO_V1)
            .await?;
        let direct = ("direct", json!({}));
        let ended = cluster.roll_out(("hello", version), PRODUCTION, direct);
        current = ended.await?.header.id;
    }
    wait_for_snapshots(&cluster).await?;
    let journal = counted(&cluster);
    cluster.restart_engine(Arc::clone(&journal) as _).await?;
    let modules = cluster.engine.modules.clone();
    let other = "other".parse()?;
    ensure!(modules.delete(&other, &"1.0.0".parse()?).await?);
    ensure!(journal.summarized().len() > 1, "no success was looked at");
    journal.summarized().clear();
    ensure!(modules.delete(&other, &"2.0.0".parse()?).await?);
    assert_eq!(*journal.summarized(), BTreeSet::from([current]));
    // It is still known what is needed.
    let refused = modules.delete(&"hello".parse()?, &"2.0.0".parse()?).await;
    ensure!(refused.is_err(), "{refused:?}");
    cluster.shutdown().await;
    Ok(())
}
