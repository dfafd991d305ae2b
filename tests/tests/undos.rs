//! An undo goes back from what should run when its deployment is created, also where that has
//! changed after the engine has chosen where to go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use hotswap_core::{Header, Requester, Status, Timestamp};
use hotswap_runner::{NewUndo, Rollback, UndoTarget};
use hotswap_store::{CreateError, Journal};
use hotswap_tests::{Cluster, EMAIL, InterceptedJournal, Interceptor, StaticFleet};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::timeout;

const PRODUCTION: &str = "production";
const PATIENCE: Duration = Duration::from_secs(60);

/// Holds the first undo right before its deployment is created.
struct HeldUndo {
    has_held: AtomicBool,
    is_held: Semaphore,
    may_go_on: Semaphore,
}

#[async_trait]
impl Interceptor for HeldUndo {
    async fn create(
        &self,
        journal: &dyn Journal,
        header: Header,
        at: Timestamp,
    ) -> Result<(), CreateError> {
        if header.undo_to.is_some() && !self.has_held.swap(true, Ordering::SeqCst) {
            self.is_held.add_permits(1);
            // Never closed.
            let _ = self.may_go_on.acquire().await;
        }
        journal.create(header, at).await
    }
}

fn new_undo(to: Option<UndoTarget>) -> Result<NewUndo> {
    Ok(NewUndo {
        module: "hello".parse()?,
        environment: PRODUCTION.parse()?,
        requester: Requester {
            email: EMAIL.to_owned(),
            subject: "tests".to_owned(),
        },
        to,
        idempotency_key: None,
    })
}

struct Fixture {
    cluster: Cluster,
    journal: Arc<InterceptedJournal<HeldUndo>>,
}

impl Fixture {
    /// Two nodes that ran 1.0.0 and run 2.0.0.
    async fn start() -> Result<Self> {
        let mut cluster = Cluster::start(&[(PRODUCTION, 2)]).await?;
        cluster.upload_samples().await?;
        for version in ["1.0.0", "2.0.0"] {
            let direct = ("direct", json!({}));
            cluster
                .roll_out(("hello", version), PRODUCTION, direct)
                .await?;
        }
        let held = HeldUndo {
            has_held: AtomicBool::new(false),
            is_held: Semaphore::new(0),
            may_go_on: Semaphore::new(0),
        };
        let store: Arc<dyn Journal> = Arc::new(cluster.resources.store.clone());
        let journal = InterceptedJournal::new(store, held);
        let engine_journal: Arc<dyn Journal> = Arc::clone(&journal) as _;
        cluster.restart_engine(engine_journal).await?;
        Ok(Self { cluster, journal })
    }

    /// Asks for an undo, and lets `meanwhile` happen between its decision and its deployment.
    async fn undo(&self, meanwhile: impl Future<Output = Result<()>>) -> Result<Rollback> {
        let undo = new_undo(None)?;
        let deployments = self.cluster.engine.deployments.clone();
        let undone = tokio::spawn(async move { deployments.undo(undo).await });
        let held = timeout(PATIENCE, self.journal.is_held.acquire()).await;
        held.context("no undo was to be created")??.forget();
        meanwhile.await?;
        self.journal.may_go_on.add_permits(1);
        Ok(timeout(PATIENCE, undone).await???)
    }

    /// Checks what came of the undo.
    async fn end(self, undone: Rollback, version: &str, reason: &str) -> Result<()> {
        assert_eq!(
            (undone.version.to_string().as_str(), undone.reason.as_str()),
            (version, reason)
        );
        let state = self.cluster.wait_for_end(undone.id).await?;
        assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
        for (node, active) in self.cluster.active_versions(PRODUCTION, "hello").await? {
            assert_eq!(active.as_deref(), Some(version), "{node}");
        }
        self.cluster.shutdown().await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_goes_back_from_a_success_that_came_first() -> Result<()> {
    let fixture = Fixture::start().await?;
    let succeeds = async {
        let direct = ("direct", json!({}));
        let cluster = &fixture.cluster;
        cluster
            .roll_out(("hello", "3.0.0"), PRODUCTION, direct)
            .await?;
        Ok(())
    };
    let undone = fixture.undo(succeeds).await?;
    fixture
        .end(undone, "2.0.0", "the last success before 3.0.0")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_of_a_module_that_was_retired_first_brings_it_back() -> Result<()> {
    let fixture = Fixture::start().await?;
    let retired = async {
        let reconciler = &fixture.cluster.engine.reconciler;
        let (environment, module) = (PRODUCTION.parse()?, "hello".parse()?);
        let by = EMAIL.to_owned();
        Ok(reconciler.retire(&environment, &module, by, None).await?)
    };
    let undone = fixture.undo(retired).await?;
    fixture
        .end(
            undone,
            "2.0.0",
            "the last success before the module was retired",
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_goes_where_it_chose_if_nothing_happens_meanwhile() -> Result<()> {
    let fixture = Fixture::start().await?;
    let undone = fixture.undo(async { Ok(()) }).await?;
    fixture
        .end(undone, "1.0.0", "the last success before 2.0.0")
        .await
}

/// One request to the store is for fewer successes than have come since.
#[tokio::test(flavor = "multi_thread")]
async fn an_undo_finds_a_version_however_often_others_have_succeeded_since() -> Result<()> {
    let mut cluster = Cluster::start(&[(PRODUCTION, 1)]).await?;
    cluster.upload_samples().await?;
    // Nodes that do everything at once.
    cluster.resources.fleet = Arc::new(StaticFleet::new(1));
    let store = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    let direct = || ("direct", json!({}));
    let oldest = ("hello", "1.0.0");
    let oldest = cluster.roll_out(oldest, PRODUCTION, direct()).await?;
    for _ in 0..51 {
        cluster
            .roll_out(("hello", "2.0.0"), PRODUCTION, direct())
            .await?;
    }
    let to = |version: &str| Ok::<_, anyhow::Error>(UndoTarget::Version(version.parse()?));
    let deployments = cluster.engine.deployments.clone();
    let unknown = deployments.undo(new_undo(Some(to("9.9.9")?))?).await;
    let Err(hotswap_runner::deployments::Error::NotASuccess { .. }) = unknown else {
        panic!("{unknown:?}");
    };
    let undone = deployments.undo(new_undo(Some(to("1.0.0")?))?).await?;
    assert_eq!(undone.version.to_string(), "1.0.0");
    let state = cluster.wait_for_end(undone.id).await?;
    assert_eq!(state.header.undo_to, Some(oldest.header.id));
    cluster.shutdown().await;
    Ok(())
}
