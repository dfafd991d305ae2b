use async_trait::async_trait;
use hotswap_core::{Check, Judgement, QueryReading};
use hotswap_store::{CatalogueError, EngineMessages};
use tokio::sync::watch;
use tokio::time::{advance, timeout};

use super::*;

fn finding(samples: u64) -> Finding {
    Finding {
        check: Check {
            metric: "error-rate".into(),
            max: None,
            max_increase: Some(0.5),
            min_increase: None,
        },
        judgement: Judgement::Inconclusive,
        canary: Some(0.0),
        baseline: Some(0.0),
        canary_samples: samples,
        baseline_samples: samples,
        reason: format!("{samples} requests are too few"),
        conditions: Vec::new(),
        queried: Vec::new(),
    }
}

fn progress(samples: u64) -> SoakProgress {
    SoakProgress {
        at: Timestamp::from_millis(samples),
        findings: vec![finding(samples)],
        warnings: Vec::new(),
    }
}

fn show(soak: &LiveSoak, samples: u64) {
    soak.show(Timestamp::from_millis(samples), vec![finding(samples)]);
}

fn samples(soaks: &LiveSoaks, deployment: DeploymentId) -> Option<u64> {
    Some(soaks.get(deployment)?.findings[0].canary_samples)
}

/// How many changes there were since the last call.
fn count(changes: &mut SoakChanges) -> usize {
    std::iter::from_fn(|| changes.0.try_recv().ok()).count()
}

#[tokio::test(start_paused = true)]
async fn progress_is_shown_at_once_and_told_once_a_second() {
    let soaks = Arc::<LiveSoaks>::default();
    let mut changes = soaks.changes();
    let deployment = DeploymentId::generate();
    let soak = soaks.begin(deployment);
    assert_eq!(soaks.get(deployment), None);
    for reading in 0..9 {
        show(&soak, reading);
        assert_eq!(samples(&soaks, deployment), Some(reading));
        advance(Duration::from_millis(250)).await;
    }
    // After 0, 1 and 2 seconds.
    assert_eq!(count(&mut changes), 3);
    // Nothing new was found.
    advance(MIN_TELL).await;
    soak.show(Timestamp::from_millis(99), vec![finding(8)]);
    assert_eq!(count(&mut changes), 0);
    drop(soak);
    assert_eq!(soaks.get(deployment), None);
    assert_eq!(count(&mut changes), 1);
}

/// The channel of two engines: what one publishes, the other receives.
struct Channel {
    to: broadcast::Sender<Arc<[u8]>>,
    from: broadcast::Sender<Arc<[u8]>>,
}

#[async_trait]
impl EngineMessages for Channel {
    async fn publish(&self, message: &[u8]) -> Result<(), CatalogueError> {
        let _ = self.to.send(message.into());
        Ok(())
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<[u8]>> {
        self.from.subscribe()
    }

    fn echoes(&self) -> watch::Receiver<u64> {
        watch::Sender::new(0).subscribe()
    }
}

#[tokio::test(start_paused = true)]
async fn other_engines_show_a_soak_until_it_is_over_or_silent() {
    let (one, other) = (Arc::<LiveSoaks>::default(), Arc::<LiveSoaks>::default());
    let (here, there) = (broadcast::Sender::new(16), broadcast::Sender::new(16));
    let exchange =
        |soaks: &Arc<LiveSoaks>, to: &broadcast::Sender<_>, from: &broadcast::Sender<_>| {
            let (to, from) = (to.clone(), from.clone());
            tokio::spawn(Arc::clone(soaks).exchange(Arc::new(Channel { to, from })))
        };
    let first = exchange(&one, &there, &here);
    let deployment = DeploymentId::generate();
    let mut changes = other.changes();
    tokio::task::yield_now().await;
    let soak = one.begin(deployment);
    show(&soak, 1);
    tokio::task::yield_now().await;
    // It starts later, so it hears of the soak when that is told again.
    let second = exchange(&other, &here, &there);
    let minute = Duration::from_secs(60);
    assert_eq!(timeout(minute, changes.next()).await, Ok(Some(deployment)));
    assert_eq!(other.get(deployment), one.get(deployment));
    advance(MIN_TELL).await;
    show(&soak, 2);
    assert_eq!(timeout(minute, changes.next()).await, Ok(Some(deployment)));
    assert_eq!(samples(&other, deployment), Some(2));
    drop(soak);
    assert_eq!(timeout(minute, changes.next()).await, Ok(Some(deployment)));
    assert_eq!(other.get(deployment), None);
    // An engine that was killed does not say that its soak is over.
    let soak = one.begin(deployment);
    show(&soak, 3);
    assert_eq!(timeout(minute, changes.next()).await, Ok(Some(deployment)));
    first.abort();
    assert_eq!(timeout(minute, changes.next()).await, Ok(Some(deployment)));
    assert_eq!(other.get(deployment), None);
    second.abort();
}

#[tokio::test]
async fn the_engine_that_runs_a_soak_believes_no_other_about_it() {
    let soaks = Arc::<LiveSoaks>::default();
    let deployment = DeploymentId::generate();
    let told = |samples| {
        let message =
            serde_json::json!({ "deployment": deployment, "progress": progress(samples) });
        serde_json::to_vec(&message).unwrap()
    };
    soaks.receive(&told(5));
    assert_eq!(samples(&soaks, deployment), Some(5));
    let soak = soaks.begin(deployment);
    show(&soak, 6);
    soaks.receive(&told(7));
    assert_eq!(samples(&soaks, deployment), Some(6));
    soaks.receive(b"of the future");
}

#[tokio::test]
async fn a_message_to_other_engines_is_bounded() {
    let soaks = Arc::<LiveSoaks>::default();
    let (to, from) = (broadcast::Sender::new(16), broadcast::Sender::new(16));
    let mut sent = to.subscribe();
    let channel = Arc::new(Channel { to, from });
    let (deployment, other) = (DeploymentId::generate(), DeploymentId::generate());
    let mut large = progress(1);
    let reading = || QueryReading {
        query: "x".into(),
        at: Timestamp::from_millis(1),
        canary: Some(1.0),
        baseline: None,
        error: Some("x".repeat(1000)),
    };
    large.findings[0].queried = (0..100).map(|_| reading()).collect();
    let mut huge = progress(2);
    huge.findings[0].reason = "x".repeat(100_000);
    let (first, second) = (soaks.begin(deployment), soaks.begin(other));
    let exchange = tokio::spawn(Arc::clone(&soaks).exchange(channel));
    second.show(huge.at, huge.findings);
    first.show(large.at, large.findings);
    let message = timeout(Duration::from_secs(60), sent.recv()).await;
    let message = message.unwrap().unwrap();
    exchange.abort();
    assert!(message.len() < 2000, "{}", message.len());
    let there = LiveSoaks::default();
    there.receive(&message);
    assert_eq!(*there.get(deployment).unwrap(), progress(1));
}

#[tokio::test]
async fn warnings_are_shown_with_the_progress_and_known_to_other_engines_from_then_on() {
    let (one, other) = (Arc::<LiveSoaks>::default(), LiveSoaks::default());
    let deployment = DeploymentId::generate();
    let told = |soaks: &LiveSoaks| {
        let progress = soaks.get(deployment).unwrap();
        serde_json::to_vec(&serde_json::json!({
            "deployment": deployment,
            "progress": *progress,
        }))
        .unwrap()
    };
    let mut changes = other.changes();
    one.warnings().begin(deployment);
    let soak = one.begin(deployment);
    show(&soak, 1);
    other.receive(&told(&one));
    assert_eq!(count(&mut changes), 1);
    let warning = vec!["too few requests".to_owned()];
    assert!(one.warnings().record(deployment, warning.clone()));
    // The same findings, and a warning that is new.
    show(&soak, 1);
    assert!(!one.get(deployment).unwrap().says_the_same_as(&progress(1)));
    other.receive(&told(&one));
    assert_eq!(other.get(deployment).unwrap().warnings, warning);
    drop(soak);
    assert_eq!(
        other.warnings().get(deployment),
        warning,
        "also when the soak is over"
    );
    other.warnings().end(deployment);
    assert_eq!(other.warnings().get(deployment), Vec::<String>::new());
}
