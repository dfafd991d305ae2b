use std::path::PathBuf;
use std::sync::Mutex;

use hotswap_common::trace::TraceContext;
use hotswap_core::{Call, Cause, CauseKind, Clock, EventBody, Health, Status};
use hotswap_fleet::{Fleet, Registry};
use hotswap_plugins::Host;
use hotswap_store::{Blobs, Journal, Memory};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::fixture::{self, ListedFleet, TestClock};
use super::*;
use crate::cordoned_nodes::CordonedNodes;
use crate::limits::Limits;
use crate::projections::Projections;
use crate::reconciler::ToldVersions;
use crate::references::References;
use crate::strategies::Strategies;

fn size_of_future<F: Future>(
    _: impl Fn(Arc<DriverContext>, DeploymentId, Arc<Notify>) -> F,
) -> usize {
    size_of::<F>()
}

/// Thousands of deployments may wait, each in such a future.
#[test]
fn a_deployment_that_waits_takes_little_memory() {
    let bytes = size_of_future(drive);
    assert!(bytes <= 2100, "{bytes} bytes");
}

/// The context of the request for it.
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The driver of a deployment whose strategy cannot be read: a folder is where its component should
/// be. Reading that fails, unlike a component that is gone.
pub(super) struct Fixture {
    store: Memory,
    pub(super) context: Arc<DriverContext>,
    pub(super) deployment: DeploymentId,
    wake: Arc<Notify>,
    component: PathBuf,
    driver: AbortOnDropHandle<()>,
    _folder: TempDir,
}

impl Fixture {
    async fn start() -> Self {
        let mut fleet = ListedFleet::new(&[fixture::node("a", None)]);
        fleet.set_health("a", Health::Passing);
        Self::start_with(fleet, Vec::new()).await
    }

    /// A deployment whose journal holds `events` after the request.
    pub(super) async fn start_with(fleet: ListedFleet, events: Vec<EventBody>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut header = fixture::header();
        header.trace = Some(TRACE.to_owned());
        let component = folder.path().join(header.strategy.digest.hex());
        let store = Memory::new(7);
        let journal: Arc<dyn Journal> = Arc::new(store.clone());
        let clock: Arc<dyn Clock> = Arc::new(TestClock::default());
        let blobs = Blobs::open_folder(folder.path().to_owned(), 1 << 20).await;
        std::fs::create_dir(&component).unwrap();
        let catalogue = Arc::new(store.clone());
        let interval = Registry::DEFAULT_INTERVAL;
        let registry = Registry::load(catalogue.clone(), Arc::clone(&clock), interval).await;
        let fleet: Arc<dyn Fleet> = Arc::new(fleet);
        let references = References::new(
            Arc::clone(&journal),
            Projections::new(Arc::clone(&journal)),
            registry.unwrap(),
            Arc::clone(&fleet),
        );
        let host = Host::new(hotswap_plugins::Limits::default()).unwrap();
        let strategies = Strategies::new(
            catalogue,
            blobs.unwrap(),
            host,
            Arc::clone(&clock),
            references,
        );
        let cordoned = Arc::<CordonedNodes>::default();
        let deployment = header.id;
        journal.create(header, clock.now()).await.unwrap();
        let append = Append {
            deployment,
            expected: 1,
            fence: None,
            at: clock.now(),
            bodies: events,
        };
        journal.append(append).await.unwrap();
        let context = Arc::new(DriverContext {
            journal,
            strategies,
            fleet,
            clock,
            limits: Limits::default(),
            retries: Arc::default(),
            live_soaks: Arc::default(),
            soak_warnings: Arc::default(),
            forecast_queue: Arc::default(),
            metric_providers: Default::default(),
            repairs: Arc::default(),
            due_repairs: Arc::default(),
            told: Arc::new(ToldVersions::new(Arc::clone(&cordoned))),
            cordoned,
            damaged: Arc::default(),
            timers: Default::default(),
            instances: Semaphore::new(1),
            tasks: Default::default(),
        });
        let wake = Arc::<Notify>::default();
        let driver = drive(Arc::clone(&context), deployment, Arc::clone(&wake));
        Self {
            store,
            context,
            deployment,
            wake,
            component,
            driver: AbortOnDropHandle::new(tokio::spawn(driver)),
            _folder: folder,
        }
    }

    /// How often the driver has failed since its last progress.
    fn attempts(&self) -> u32 {
        let retry = self.context.retries.get(self.deployment);
        retry.map_or(0, |retry| retry.attempts)
    }

    async fn wait_for_attempts(&self, count: u32) {
        while self.attempts() < count {
            tokio::time::sleep(MIN_DELAY / 2).await;
        }
    }

    async fn head(&self) -> hotswap_store::Head {
        self.store.head(self.deployment).await.unwrap()
    }

    /// Resumes the deployment, as a person does.
    async fn resume(&self) {
        let append = Append {
            deployment: self.deployment,
            expected: self.head().await.next_seq,
            fence: None,
            at: self.context.clock.now(),
            bodies: vec![EventBody::Resumed {
                by: "ada".to_owned(),
            }],
        };
        self.store.append(append).await.unwrap();
        self.wake.notify_one();
    }
}

#[tokio::test(start_paused = true)]
async fn after_progress_the_driver_retries_as_soon_as_at_first() {
    let fixture = Fixture::start().await;
    // The delay has grown to its maximum.
    fixture.wait_for_attempts(9).await;
    // Progress: the component is gone, so the driver pauses the deployment.
    std::fs::remove_dir(&fixture.component).unwrap();
    while fixture.head().await.lifecycle.status() != Status::Paused {
        tokio::time::sleep(MIN_DELAY).await;
    }
    assert_eq!(fixture.attempts(), 0);
    std::fs::create_dir(&fixture.component).unwrap();
    fixture.resume().await;
    fixture.wait_for_attempts(1).await;
    // Two more attempts, after at most two and four times the shortest delay.
    tokio::time::sleep(7 * MIN_DELAY).await;
    assert!(fixture.attempts() >= 3, "{} attempts", fixture.attempts());
}

/// A message of the log, with the trace that it belongs to.
type Line = (String, Option<TraceContext>);

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Line>>>);

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push((message.0, trace::current()));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_line_of_an_attempt_that_failed_belongs_to_the_trace() {
    let lines = Lines::default();
    // With one subscriber alone, a line that the thread of another test logs first counts as one that
    // nobody wants: `tracing` asks the subscriber of that thread, which has none.
    let _other = tracing::Dispatch::new(Lines::default());
    let _default = tracing::subscriber::set_default(lines.clone());
    let fixture = Fixture::start().await;
    fixture.wait_for_attempts(2).await;
    let trace = TRACE.parse().unwrap();
    let lines = lines.0.lock().unwrap();
    let failed = lines
        .iter()
        .filter(|(line, _)| line.contains("driver failed, retrying"));
    let traces: Vec<_> = failed.map(|(_, trace)| *trace).collect();
    assert!(traces.len() >= 2, "{lines:?}");
    // No tracer is installed here, so the context is that of the request.
    assert!(
        traces.iter().all(|found| *found == Some(trace)),
        "{lines:?}"
    );
}

/// The nodes tell the engine of their fences only by refusing the orders of the revert, which has
/// a lease of its own.
#[tokio::test(start_paused = true)]
async fn a_revert_goes_on_above_the_fences_that_the_nodes_have_seen() {
    let nodes = [fixture::node("a", None)];
    let mut fleet = ListedFleet::new(&nodes);
    fleet.seen_fence = 1_000_000;
    let mut events = changing(&nodes[0]);
    events.push(EventBody::Reverting {
        cause: Cause::new(CauseKind::Deadline, "not done in time"),
    });
    let mut fixture = Fixture::start_with(fleet, events).await;
    (&mut fixture.driver).await.unwrap();
    let status = fixture.head().await.lifecycle.status();
    assert_eq!(status, Status::RolledBack);
}

/// Its lease may have passed to another engine, which knows nothing of the faults of this one.
#[tokio::test(start_paused = true)]
async fn the_faults_of_a_driver_that_was_dropped_are_not_shown_any_more() {
    let mut fixture = Fixture::start().await;
    fixture.wait_for_attempts(2).await;
    fixture.context.damaged.add(fixture.deployment);
    fixture.driver.abort();
    assert!((&mut fixture.driver).await.unwrap_err().is_cancelled());
    assert_eq!(fixture.attempts(), 0);
    assert_eq!(fixture.context.damaged.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_driver_of_a_deployment_that_was_deleted_ends() {
    let fixture = Fixture::start().await;
    let (context, deleted) = (Arc::clone(&fixture.context), DeploymentId::generate());
    drive(context, deleted, Arc::default()).await;
    assert_eq!(fixture.context.retries.get(deleted), None);
}

/// As where an engine on a restored copy of the store orders the same nodes.
#[tokio::test(start_paused = true)]
async fn a_driver_that_meets_higher_fences_again_and_again_rests_in_between() {
    const TIMES: u32 = 3000;
    let nodes = [fixture::node("a", None)];
    let mut fleet = ListedFleet::new(&nodes);
    fleet.fenced_by_others = i64::from(TIMES).into();
    let mut events = changing(&nodes[0]);
    events.push(EventBody::Reverting {
        cause: Cause::new(CauseKind::Deadline, "not done in time"),
    });
    let began = tokio::time::Instant::now();
    let mut fixture = Fixture::start_with(fleet, events).await;
    (&mut fixture.driver).await.unwrap();
    let status = fixture.head().await.lifecycle.status();
    assert_eq!(status, Status::RolledBack);
    assert!(began.elapsed() >= TIMES * MIN_DELAY);
}

/// What a journal holds of a deployment that changes node `a`.
fn changing(node: &hotswap_core::Node) -> Vec<EventBody> {
    let request = Call::Promote {
        nodes: vec![node.id.clone()],
    };
    vec![
        EventBody::Planned {
            nodes: vec![node.clone()],
            missing: Vec::new(),
            cordoned: Vec::new(),
        },
        EventBody::Called {
            call: 0,
            request,
            due: None,
            readings: Vec::new(),
            answer: None,
        },
    ]
}

/// The node is not at fault, so nothing of it may be journaled as the node's failure.
#[tokio::test(start_paused = true)]
async fn a_driver_retries_where_this_machine_can_send_no_order() {
    let node = fixture::node("a", None);
    let answered = EventBody::Answered {
        call: 0,
        answer: hotswap_core::Answer::Nodewise(Vec::new()),
    };
    let settling = EventBody::Settling(Some(hotswap_core::Verification {
        not_updated: Vec::new(),
    }));
    let reverting = EventBody::Reverting {
        cause: Cause::new(CauseKind::Deadline, "not done in time"),
    };
    for (end, status) in [
        (vec![answered, settling], Status::Succeeded),
        (vec![reverting], Status::RolledBack),
    ] {
        let mut fleet = ListedFleet::new(std::slice::from_ref(&node));
        fleet.local_faults = Some(3.into());
        let mut fixture = Fixture::start_with(fleet, [changing(&node), end].concat()).await;
        fixture.wait_for_attempts(2).await;
        (&mut fixture.driver).await.unwrap();
        assert_eq!(fixture.head().await.lifecycle.status(), status);
        let events = fixture
            .store
            .events(fixture.deployment, 0, 100)
            .await
            .unwrap();
        let last = events.last().map(|event| &event.body);
        assert!(
            matches!(last, Some(EventBody::Ended { failures, .. }) if failures.is_empty()),
            "{last:?}"
        );
        assert_eq!(fixture.attempts(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_append_forgets_the_fault_and_the_delay_of_the_attempts_before() {
    let mut fixture = Fixture::start().await;
    // It has made the plan.
    fixture.wait_for_attempts(1).await;
    fixture.driver.abort();
    assert!((&mut fixture.driver).await.unwrap_err().is_cancelled());
    let (context, deployment) = (&fixture.context, fixture.deployment);
    let mut backoff = Backoff::new(MIN_DELAY, MAX_DELAY);
    for _ in 0..9 {
        context.record_fault(deployment, "a fault".to_owned());
        backoff.next_delay();
    }
    reset_after_progress(context, deployment, &mut backoff);
    assert!(backoff.next_delay() > 2 * MIN_DELAY);
    let lease = context.journal.acquire_lease(deployment).await.unwrap();
    let opened = JournalWriter::open(
        Arc::clone(&context.journal),
        Arc::clone(&context.clock),
        Arc::clone(&context.retries),
        (deployment, lease.fence),
    );
    let (mut writer, _) = opened.await.ok().unwrap();
    // The run goes on.
    writer.push(EventBody::Called {
        call: 0,
        request: Call::Now,
        due: None,
        readings: Vec::new(),
        answer: None,
    });
    assert!(fixture.attempts() >= 9);
    writer.flush().await.unwrap();
    assert_eq!(fixture.attempts(), 0);
    reset_after_progress(context, deployment, &mut backoff);
    assert!(backoff.next_delay() <= 2 * MIN_DELAY);
}
