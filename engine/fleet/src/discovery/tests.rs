use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::{Health, NodeId, SystemClock};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::view::{Applied, View};
use super::*;

/// A registry that answers what a test sends, and waits for it. It repeats its last answer where
/// nothing changes as long as the source waits.
struct Scripted {
    answers: mpsc::UnboundedReceiver<Result<Snapshot, Error>>,
    asked: Arc<Mutex<Vec<Option<String>>>>,
    last: Option<Snapshot>,
}

struct Fixture {
    source: WatchedSource,
    answers: mpsc::UnboundedSender<Result<Snapshot, Error>>,
    /// The cursors that the registry was asked with.
    asked: Arc<Mutex<Vec<Option<String>>>>,
    _run: tokio::task::JoinHandle<()>,
}

/// Finds these ids alive, or stopping.
struct Said {
    said: Mutex<BTreeMap<NodeId, Liveness>>,
    asked: AtomicU32,
}

impl Said {
    fn new(said: BTreeMap<NodeId, Liveness>) -> Arc<Self> {
        Arc::new(Self {
            said: Mutex::new(said),
            asked: AtomicU32::new(0),
        })
    }

    fn say(&self, said: BTreeMap<NodeId, Liveness>) {
        self.said.lock().expect("not poisoned").extend(said);
    }
}

#[async_trait]
impl Backend for Scripted {
    async fn watch(
        &mut self,
        cursor: Option<String>,
        patience: Duration,
    ) -> Result<Snapshot, Error> {
        let waits_for_change = cursor.is_some() || patience.is_zero();
        self.asked.lock().expect("not poisoned").push(cursor);
        let next = match self.last.clone().filter(|_| waits_for_change) {
            None => self.answers.recv().await,
            Some(last) => {
                let next = timeout(patience, self.answers.recv()).await;
                next.unwrap_or(Some(Ok(last)))
            }
        };
        let answer = match next {
            Some(answer) => answer,
            None => std::future::pending().await,
        };
        self.last = answer.clone().ok().or(self.last.take());
        answer
    }
}

#[async_trait]
impl Prober for Said {
    async fn probe(&self, instance: &Instance) -> Liveness {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let said = self.said.lock().expect("not poisoned");
        said.get(&instance.id).copied().unwrap_or(Liveness::Silent)
    }
}

fn instance(id: &str) -> Instance {
    Instance {
        id: id.parse().expect("an id"),
        environment: Some("qa".parse().expect("a name")),
        zone: None,
        version: None,
        labels: [].into(),
        control_url: Some(format!("http://{id}:1")),
        data_url: None,
        health: Health::Passing,
    }
}

fn snapshot(cursor: &str, ids: &[&str]) -> Snapshot {
    Snapshot {
        instances: ids.iter().map(|id| instance(id)).collect(),
        invalid: Vec::new(),
        cursor: cursor.to_owned(),
    }
}

fn ids(instances: &[Arc<Instance>]) -> Vec<&str> {
    instances
        .iter()
        .map(|instance| instance.id.as_str())
        .collect()
}

fn say(ids: &[&str], said: Liveness) -> BTreeMap<NodeId, Liveness> {
    let ids = ids.iter().map(|id| id.parse().expect("an id"));
    ids.map(|id| (id, said)).collect()
}

fn alive(ids: &[&str]) -> BTreeMap<NodeId, Liveness> {
    say(ids, Liveness::Alive)
}

fn stopping(ids: &[&str]) -> BTreeMap<NodeId, Liveness> {
    say(ids, Liveness::Stopping)
}

fn is_held(applied: &Applied) -> bool {
    matches!(applied, Applied::Held(_))
}

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "no answer")
}

fn start(prober: Option<Arc<dyn Prober>>) -> Fixture {
    let (answers, receiver) = mpsc::unbounded_channel();
    let asked = Arc::<Mutex<Vec<Option<String>>>>::default();
    let backend = Scripted {
        answers: receiver,
        asked: Arc::clone(&asked),
        last: None,
    };
    let clock = Arc::new(SystemClock);
    let source = WatchedSource::new("main", "scripted", clock, WatchOptions::default(), prober);
    let running = source.clone();
    Fixture {
        source,
        answers,
        asked,
        _run: tokio::spawn(async move { running.run(backend).await }),
    }
}

impl Fixture {
    fn answer(&self, answer: Result<Snapshot, Error>) {
        self.answers.send(answer).expect("it runs");
    }

    /// Answers, and waits until the source has changed.
    async fn changed_by(&self, answer: Result<Snapshot, Error>) {
        let mut changes = self.source.changes();
        self.answer(answer);
        changes.changed().await.expect("the source lives");
    }

    fn ids(&self) -> Vec<String> {
        let instances = self.source.instances();
        ids(&instances).into_iter().map(str::to_owned).collect()
    }

    fn condition(&self) -> Condition {
        self.source.state().condition
    }
}

#[test]
fn the_first_answer_is_shown_also_if_it_is_empty() {
    let mut view = View::default();
    let now = std::time::Instant::now();
    assert_eq!(view.state(now).condition, Condition::Starting);
    assert_eq!(view.apply(snapshot("1", &[]), now), Applied::Shown);
    assert_eq!(view.state(now).condition, Condition::Healthy);
    assert_eq!(view.apply(snapshot("2", &["a"]), now), Applied::Shown);
    assert_eq!(ids(&view.instances()), ["a"]);
}

#[test]
fn an_answer_that_loses_more_than_half_is_held_until_a_second_one_says_the_same() {
    let mut view = View::default();
    let now = std::time::Instant::now();
    view.apply(snapshot("1", &["a", "b", "c", "d"]), now);
    // Half is not more than half.
    assert_eq!(view.apply(snapshot("2", &["a", "b"]), now), Applied::Shown);
    assert!(is_held(&view.apply(snapshot("3", &[]), now)));
    assert_eq!(ids(&view.instances()), ["a", "b"]);
    let state = view.state(now);
    assert_eq!(state.condition, Condition::Held);
    let held = state.held.expect("held");
    assert_eq!((held.instances, held.lost, held.alive), (0, 2, None));
    // Another loss is not the same loss.
    assert_eq!(view.apply(snapshot("4", &["a", "b"]), now), Applied::Shown);
    assert!(is_held(&view.apply(snapshot("5", &[]), now)));
    let Applied::Confirmed(lost) = view.apply(snapshot("6", &[]), now) else {
        panic!("it was confirmed");
    };
    assert_eq!(ids(&lost), ["a", "b"]);
    view.settle(&alive(&[]), now);
    assert!(view.instances().is_empty());
    assert_eq!(view.state(now).condition, Condition::Healthy);
}

#[test]
fn instances_that_a_registry_has_lost_stay_while_they_answer() {
    let mut view = View::default();
    let now = std::time::Instant::now();
    view.apply(snapshot("1", &["a", "b", "c"]), now);
    view.apply(snapshot("2", &[]), now);
    view.apply(snapshot("2", &[]), now);
    view.settle(&alive(&["a", "b"]), now);
    assert_eq!(ids(&view.instances()), ["a", "b"]);
    assert_eq!(view.instances()[0].health, Health::Unknown);
    let held = view.state(now).held.expect("held");
    assert_eq!((held.lost, held.alive), (2, Some(2)));
    // One more dies, then the registry knows them again.
    assert!(matches!(
        view.apply(snapshot("2", &[]), now),
        Applied::Confirmed(_)
    ));
    view.settle(&alive(&["a"]), now);
    assert_eq!(ids(&view.instances()), ["a"]);
    assert_eq!(view.apply(snapshot("3", &["a", "b"]), now), Applied::Shown);
    assert_eq!(view.state(now).condition, Condition::Healthy);
}

#[test]
fn the_last_instance_is_gone_at_once_if_it_says_that_it_stops() {
    let mut view = View::default();
    let now = std::time::Instant::now();
    view.apply(snapshot("1", &["a"]), now);
    let Applied::Held(asked) = view.apply(snapshot("2", &[]), now) else {
        panic!("it was held");
    };
    assert_eq!(ids(&asked), ["a"]);
    view.settle(&stopping(&["a"]), now);
    assert!(view.instances().is_empty());
    assert_eq!(view.condition(), Condition::Healthy);
}

#[test]
fn an_instance_that_answers_or_is_silent_is_held_after_one_answer() {
    for said in [Liveness::Alive, Liveness::Silent] {
        let mut view = View::default();
        let now = std::time::Instant::now();
        view.apply(snapshot("1", &["a"]), now);
        view.apply(snapshot("2", &[]), now);
        view.settle(&say(&["a"], said), now);
        assert_eq!(ids(&view.instances()), ["a"], "{said:?}");
        assert_eq!(view.condition(), Condition::Held);
        let asked = view.apply(snapshot("2", &[]), now);
        assert!(matches!(asked, Applied::Confirmed(_)), "{said:?}");
    }
}

#[test]
fn more_than_half_may_deregister_at_once_and_are_no_part_of_a_loss() {
    let mut view = View::default();
    let now = std::time::Instant::now();
    let all = ["a", "b", "c", "d", "e", "f", "g"];
    view.apply(snapshot("1", &all), now);
    // Three deregister. One of the others is lost, which is no loss of most.
    assert!(is_held(&view.apply(snapshot("2", &["a", "b", "c"]), now)));
    view.settle(&stopping(&["e", "f", "g"]), now);
    assert_eq!(ids(&view.instances()), ["a", "b", "c"]);
    assert_eq!(view.condition(), Condition::Healthy);
    // One deregisters, and two are forgotten.
    assert!(is_held(&view.apply(snapshot("3", &[]), now)));
    view.settle(&stopping(&["a"]), now);
    assert_eq!(ids(&view.instances()), ["b", "c"]);
    let held = view.state(now).held.expect("held");
    assert_eq!((held.lost, held.alive), (2, None));
    // The second answer confirms it; one more has begun to stop, and one answers.
    let asked = view.apply(snapshot("4", &[]), now);
    assert!(matches!(asked, Applied::Confirmed(lost) if ids(&lost) == ["b", "c"]));
    let mut said = stopping(&["b"]);
    said.extend(alive(&["c"]));
    view.settle(&said, now);
    assert_eq!(ids(&view.instances()), ["c"]);
    assert_eq!(view.condition(), Condition::Held);
    view.apply(snapshot("5", &[]), now);
    view.settle(&stopping(&["c"]), now);
    assert!(view.instances().is_empty());
    assert_eq!(view.condition(), Condition::Healthy);
}

#[test]
fn what_is_still_missing_of_a_held_answer_stays_doubtful_though_others_deregister() {
    let mut view = View::default();
    let now = std::time::Instant::now();
    view.apply(snapshot("1", &["a", "b", "c", "d"]), now);
    view.apply(snapshot("2", &[]), now);
    view.settle(&alive(&["a", "b", "c", "d"]), now);
    // Two are back and one stops: the fourth is one of three, and was lost with all.
    assert!(is_held(&view.apply(snapshot("3", &["a", "b"]), now)));
    view.settle(&stopping(&["d"]), now);
    assert_eq!(ids(&view.instances()), ["a", "b", "c"]);
    assert_eq!(view.condition(), Condition::Held);
}

#[tokio::test(start_paused = true)]
async fn a_deregistration_of_the_last_instance_is_one_change_and_no_wait() {
    let prober = Said::new(stopping(&["a"]));
    let fixture = start(Some(prober));
    fixture.changed_by(Ok(snapshot("1", &["a"]))).await;
    let lost_at = Instant::now();
    fixture.changed_by(Ok(snapshot("2", &[]))).await;
    assert!(lost_at.elapsed() < Duration::from_secs(1));
    assert_eq!(fixture.condition(), Condition::Healthy);
    assert!(fixture.ids().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_last_error_or_of_a_count_is_announced() {
    let fixture = start(None);
    fixture.changed_by(Ok(snapshot("1", &["a"]))).await;
    let mut denied = unavailable();
    denied.kind = ErrorKind::Denied;
    for error in [unavailable(), denied] {
        fixture.changed_by(Err(error.clone())).await;
        let last = fixture.source.state().last_error.expect("it failed");
        assert_eq!(last.kind, error.kind);
    }
    fixture.changed_by(Ok(snapshot("2", &["a"]))).await;
    let mut invalid = snapshot("3", &["a"]);
    for reason in ["its id", "its address"] {
        invalid.invalid = vec![InvalidInstance {
            id: "b".to_owned(),
            reason: reason.to_owned(),
        }];
        fixture.changed_by(Ok(invalid.clone())).await;
        let example = fixture.source.state().invalid_example.expect("one");
        assert!(example.contains(reason), "{example}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_instances_with_one_id_the_first_is_shown_and_the_others_are_counted() {
    let fixture = start(None);
    let mut found = snapshot("1", &["a", "b", "a", "a"]);
    for (number, instance) in found.instances.iter_mut().enumerate() {
        instance.control_url = Some(format!("http://host-{number}:1"));
    }
    fixture.changed_by(Ok(found)).await;
    assert_eq!(fixture.ids(), ["a", "b"]);
    let first = fixture.source.instances().remove(0);
    assert_eq!(first.control_url.as_deref(), Some("http://host-0:1"));
    let state = fixture.source.state();
    assert_eq!((state.instances, state.invalid), (2, 2));
    let example = state.invalid_example.expect("one");
    assert!(
        example.contains('a') && example.contains("same id"),
        "{example}"
    );
}

#[tokio::test(start_paused = true)]
async fn errors_without_an_end_are_announced_once_a_second_at_most_and_the_last_one_is() {
    let fixture = start(None);
    fixture.changed_by(Ok(snapshot("1", &["a"]))).await;
    let mut changes = fixture.source.changes();
    for number in 0..1000 {
        let mut found = snapshot(&number.to_string(), &["a"]);
        found.invalid = vec![InvalidInstance {
            id: "b".to_owned(),
            reason: format!("reason {number}"),
        }];
        fixture.answer(Ok(found));
    }
    let (mut count, started) = (0, Instant::now());
    while let Ok(changed) = timeout(Duration::from_secs(5), changes.changed()).await {
        changed.expect("the source lives");
        count += 1;
    }
    // A thousand answers take a hundred seconds.
    assert!((90..=105).contains(&count), "{count}");
    assert!(started.elapsed() > Duration::from_secs(90));
    let example = fixture.source.state().invalid_example.expect("one");
    assert!(example.contains("reason 999"), "{example}");
}

#[tokio::test(start_paused = true)]
async fn the_same_error_again_is_no_change() {
    let fixture = start(None);
    fixture.changed_by(Ok(snapshot("1", &["a"]))).await;
    fixture.changed_by(Err(unavailable())).await;
    let mut changes = fixture.source.changes();
    for _ in 0..10 {
        fixture.answer(Err(unavailable()));
    }
    let changed = timeout(Duration::from_secs(600), changes.changed()).await;
    assert!(changed.is_err(), "it has changed");
}

#[tokio::test(start_paused = true)]
async fn the_last_view_stays_while_the_registry_fails_and_tells_its_age() {
    let fixture = start(None);
    assert_eq!(fixture.condition(), Condition::Starting);
    fixture.changed_by(Ok(snapshot("1", &["a", "b"]))).await;
    assert_eq!(fixture.condition(), Condition::Healthy);
    fixture.changed_by(Err(unavailable())).await;
    sleep(Duration::from_secs(60)).await;
    let state = fixture.source.state();
    assert_eq!(state.condition, Condition::Stale);
    assert!(state.age >= Some(Duration::from_secs(60)), "{state:?}");
    assert_eq!((state.instances, state.passing), (2, 2));
    let error = state.last_error.expect("it failed");
    assert_eq!(
        (error.kind, &*error.message),
        (ErrorKind::Unavailable, "no answer")
    );
    assert_eq!(fixture.ids(), ["a", "b"]);
    fixture.changed_by(Ok(snapshot("2", &["a", "c"]))).await;
    assert_eq!(fixture.condition(), Condition::Healthy);
    assert_eq!(fixture.ids(), ["a", "c"]);
    // After a failure it is asked for everything, and need not wait for a change.
    let asked = fixture.asked.lock().expect("not poisoned").clone();
    assert_eq!(asked[..3], [None, Some("1".to_owned()), None]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_registry_is_asked_with_back_off() {
    let fixture = start(None);
    for _ in 0..100 {
        fixture.answer(Err(unavailable()));
    }
    sleep(Duration::from_secs(60)).await;
    let asked = fixture.asked.lock().expect("not poisoned").len();
    assert!((3..=10).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_does_not_wait_is_slowed_down() {
    let fixture = start(None);
    for _ in 0..10_000 {
        fixture.answer(Ok(snapshot("1", &["a"])));
    }
    sleep(Duration::from_secs(60)).await;
    let asked = fixture.asked.lock().expect("not poisoned").len();
    assert!(asked <= 10, "{asked}");
}

#[tokio::test(start_paused = true)]
async fn changes_without_an_end_are_taken_ten_times_a_second_at_most() {
    let fixture = start(None);
    for number in 0..10_000 {
        fixture.answer(Ok(snapshot(&number.to_string(), &["a"])));
    }
    sleep(Duration::from_secs(10)).await;
    let asked = fixture.asked.lock().expect("not poisoned").len();
    assert!((50..=102).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_fleet_is_asked_for_again_and_probed_before_it_is_believed() {
    let prober = Said::new(alive(&["a", "b", "c"]));
    let fixture = start(Some(prober.clone()));
    fixture
        .changed_by(Ok(snapshot("1", &["a", "b", "c"])))
        .await;
    let lost_at = Instant::now();
    fixture.changed_by(Ok(snapshot("2", &[]))).await;
    assert_eq!(fixture.condition(), Condition::Held);
    assert_eq!(fixture.ids(), ["a", "b", "c"]);
    let mut changes = fixture.source.changes();
    // The same answer at once confirms nothing.
    fixture.answer(Ok(snapshot("2", &[])));
    changes.changed().await.expect("the source lives");
    assert!(lost_at.elapsed() >= Duration::from_secs(5));
    // They answer the engine.
    assert_eq!(fixture.condition(), Condition::Held);
    assert_eq!(fixture.ids(), ["a", "b", "c"]);
    prober.said.lock().expect("not poisoned").clear();
    changes.changed().await.expect("the source lives");
    assert_eq!(fixture.condition(), Condition::Healthy);
    assert!(fixture.ids().is_empty());
}

#[tokio::test(start_paused = true)]
async fn while_an_answer_is_held_others_come_and_deregister_at_once() {
    let prober = Said::new(alive(&["a"]));
    let fixture = start(Some(prober.clone()));
    fixture.changed_by(Ok(snapshot("1", &["a"]))).await;
    fixture.changed_by(Ok(snapshot("2", &[]))).await;
    assert_eq!(fixture.condition(), Condition::Held);
    let mut changes = fixture.source.changes();
    let second = Duration::from_secs(1);
    for is_confirmed in [false, true] {
        let began = Instant::now();
        fixture.answer(Ok(snapshot("3", &["b"])));
        changes.changed().await.expect("the source lives");
        assert_eq!(fixture.ids(), ["a", "b"]);
        prober.say(stopping(&["b"]));
        fixture.answer(Ok(snapshot("4", &[])));
        changes.changed().await.expect("the source lives");
        assert_eq!(fixture.ids(), ["a"]);
        assert!(began.elapsed() < second, "{:?}", began.elapsed());
        let held = fixture.source.state().held.expect("held");
        assert_eq!(held.alive, is_confirmed.then_some(1));
        if !is_confirmed {
            // That b came and went has not put it off.
            changes.changed().await.expect("the source lives");
            assert!(began.elapsed() <= Duration::from_secs(6));
            assert_eq!(fixture.source.state().held.expect("held").alive, Some(1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn instances_that_are_lost_and_answer_are_asked_ever_more_rarely() {
    let prober = Said::new(alive(&["a"]));
    let fixture = start(Some(prober.clone()));
    fixture.changed_by(Ok(snapshot("1", &["a"]))).await;
    fixture.changed_by(Ok(snapshot("2", &[]))).await;
    let asked = || {
        let registry = fixture.asked.lock().expect("not poisoned").len();
        (registry, prober.asked.load(Ordering::Relaxed))
    };
    sleep(Duration::from_secs(600)).await;
    assert_eq!(fixture.condition(), Condition::Held);
    let (registry, instance) = asked();
    assert!((10..=30).contains(&registry), "{registry}");
    assert!((10..=15).contains(&instance), "{instance}");
    // It is gone a minute later at most.
    prober.said.lock().expect("not poisoned").clear();
    sleep(Duration::from_secs(61)).await;
    assert_eq!(fixture.condition(), Condition::Healthy);
    assert!(fixture.ids().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_failed_is_asked_for_everything_and_not_for_a_change() {
    let fixture = start(None);
    fixture.changed_by(Ok(snapshot("1", &["a"]))).await;
    fixture.changed_by(Err(unavailable())).await;
    fixture.changed_by(Ok(snapshot("1", &["a"]))).await;
    assert_eq!(fixture.condition(), Condition::Healthy);
    let asked = fixture.asked.lock().expect("not poisoned").clone();
    let one = Some("1".to_owned());
    assert_eq!(asked[..3], [None, one, None]);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_interrupts_a_watch_and_returns_what_came_of_it() {
    let fixture = start(None);
    fixture.changed_by(Ok(snapshot("1", &["a"]))).await;
    let (refreshed, ()) = tokio::join!(fixture.source.refresh(), async {
        sleep(Duration::from_secs(1)).await;
        fixture.answer(Ok(snapshot("2", &["a", "b"])));
    });
    refreshed.expect("it answered");
    assert_eq!(fixture.ids(), ["a", "b"]);
    let asked = fixture.asked.lock().expect("not poisoned").clone();
    let anew = asked.iter().filter(|cursor| cursor.is_none()).count();
    assert_eq!(anew, 2, "{asked:?}");
    let (refreshed, ()) = tokio::join!(fixture.source.refresh(), async {
        sleep(Duration::from_secs(1)).await;
        fixture.answer(Err(unavailable()));
    });
    assert_eq!(refreshed, Err(unavailable()));
}

#[tokio::test(start_paused = true)]
async fn a_list_in_a_file_is_watched_and_a_broken_one_changes_nothing() {
    let folder = std::env::temp_dir().join(format!("hotswap-static-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("nodes.json");
    let write = |content: &str| std::fs::write(&path, content).expect("written");
    let mut file = StaticFile::new(&path, Arc::new(SystemClock));
    let patience = Duration::from_secs(300);
    let error = file.watch(None, patience).await.expect_err("no file");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    write(
        r#"{"nodes":[{"id":"a","environment":"qa","controlUrl":"http://10.0.0.1:1"},{"id":"b","dataUrl":"ftp://x"}]}"#,
    );
    let first = file.watch(None, patience).await.expect("a list");
    assert_eq!(first.instances[0].id.as_str(), "a");
    assert_eq!(first.invalid[0].id, "b");
    assert!(
        first.invalid[0]
            .reason
            .starts_with("dataUrl: the scheme 'ftp'")
    );
    let started = Instant::now();
    let same = file.watch(Some(first.cursor.clone()), patience).await;
    assert_eq!(same.expect("a list").cursor, first.cursor);
    assert!(started.elapsed() >= patience);
    write(r#"{"nodes":[{"id":"a""#);
    let error = file.watch(Some(first.cursor.clone()), patience).await;
    assert_eq!(error.expect_err("half a list").kind, ErrorKind::Protocol);
    write(r#"{"nodes":[]}"#);
    let changed = timeout(
        Duration::from_secs(2),
        file.watch(Some(first.cursor), patience),
    )
    .await;
    let changed = changed.expect("within two seconds").expect("a list");
    assert!(changed.instances.is_empty());
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[tokio::test(start_paused = true)]
async fn sources_are_merged_by_id_and_contradictions_are_shown() {
    let (first, second) = (start(None), start(None));
    first.changed_by(Ok(snapshot("1", &["a", "b"]))).await;
    let mut moved = instance("b");
    moved.control_url = Some("http://elsewhere:1".to_owned());
    moved.environment = None;
    let instances = vec![moved, instance("c")];
    second
        .changed_by(Ok(Snapshot {
            instances,
            ..snapshot("1", &[])
        }))
        .await;
    let sources: Vec<Arc<dyn Discovery>> = vec![
        Arc::new(first.source.clone()),
        Arc::new(second.source.clone()),
    ];
    let merged = Sources::new(sources).instances_of(&"qa".parse().expect("a name"));
    let ids: Vec<_> = merged.iter().map(|it| it.instance.id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert_eq!(merged[1].sources.len(), 2);
    assert_eq!(
        merged[1].conflicts,
        [Conflict {
            field: "controlUrl".to_owned(),
            source: "main".to_owned(),
            says: "http://elsewhere:1".to_owned(),
        }]
    );
    assert!(merged[2].conflicts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_does_not_say_where_a_node_is_while_another_answers() {
    let (first, second) = (start(None), start(None));
    let of = |instance| Snapshot {
        instances: vec![instance],
        ..snapshot("1", &[])
    };
    let text = |text: &str| Some(text.to_owned());
    let mut old = instance("a");
    old.zone = text("eu");
    old.labels = [("tier".to_owned(), "edge".to_owned())].into();
    first.changed_by(Ok(of(old.clone()))).await;
    let mut moved = instance("a");
    moved.environment = Some("production".parse().expect("a name"));
    moved.zone = text("us");
    moved.version = text("2");
    moved.control_url = text("http://elsewhere:1");
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    moved.labels = [pair("tier", "core"), pair("rack", "7")].into();
    second.changed_by(Ok(of(moved))).await;
    let sources: Vec<Arc<dyn Discovery>> = vec![
        Arc::new(first.source.clone()),
        Arc::new(second.source.clone()),
    ];
    let merged = || Sources::new(sources.clone()).instances().remove(0);
    let conflicts = |merged: &MergedInstance| {
        let of = |conflict: &Conflict| format!("{} {}", conflict.field, conflict.says);
        merged.conflicts.iter().map(of).collect::<Vec<_>>()
    };
    let place = ["environment production", "labels.tier core", "zone us"];
    let healthy = merged();
    assert_eq!(healthy.instance.control_url, old.control_url);
    let address = ["controlUrl http://elsewhere:1"];
    assert_eq!(conflicts(&healthy), [&address[..], &place].concat());
    first.changed_by(Err(unavailable())).await;
    let failing = merged();
    let said = &failing.instance;
    assert_eq!(said.control_url.as_deref(), Some("http://elsewhere:1"));
    // Where it belongs does not change with a failure.
    assert_eq!(said.environment, old.environment);
    assert_eq!(said.zone, old.zone);
    assert_eq!(said.version.as_deref(), Some("2"));
    assert_eq!(
        said.labels,
        [pair("rack", "7"), pair("tier", "edge")].into()
    );
    let address = ["controlUrl http://a:1"];
    assert_eq!(conflicts(&failing), [&address[..], &place].concat());
    // Both fail: the first counts.
    second.changed_by(Err(unavailable())).await;
    assert_eq!(merged().instance.control_url, old.control_url);
}

#[test]
fn a_source_of_one_environment_takes_only_what_belongs_there() {
    let mut found = snapshot("1", &["same", "silent", "other"]);
    found.instances[1].environment = None;
    found.instances[2].environment = Some("production".parse().expect("a name"));
    let qa = "qa".parse().expect("a name");
    found.limit_to(&qa);
    let ids: Vec<_> = found.instances.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["same", "silent"]);
    assert_eq!(found.instances[1].environment.as_ref(), Some(&qa));
    let reason = &found.invalid[0].reason;
    assert!(
        reason.contains("production") && reason.contains("qa"),
        "{reason}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_view_is_too_old_for_its_environment_once_its_registry_has_failed_for_longer() {
    let fixture = start(None);
    let now = std::time::Instant::now;
    let qa = "qa".parse().expect("a name");
    let production = "production".parse().expect("a name");
    let view = |max_age| FleetView {
        sources: Sources::new(vec![Arc::new(fixture.source.clone())]),
        rules: [(
            "main".to_owned(),
            SourceRules {
                environment: Some("qa".parse().expect("a name")),
                max_age,
                ..SourceRules::default()
            },
        )]
        .into(),
        polled: Polled::default(),
        since: now(),
    };
    let minute = Duration::from_secs(60);
    let bounded = view(Some(minute));
    assert_eq!(
        bounded.stale_source(&qa, now()),
        None,
        "it has just started"
    );
    let late = now() + minute * 2;
    let stale = bounded.stale_source(&qa, late).expect("it never answered");
    assert_eq!((&*stale.name, stale.max_age), ("main", minute));
    assert_eq!(bounded.stale_source(&production, late), None);
    assert_eq!(view(None).stale_source(&qa, late), None, "any age will do");
    fixture.changed_by(Ok(snapshot("1", &["a"]))).await;
    assert_eq!(bounded.stale_source(&qa, late), None);
    fixture.changed_by(Err(unavailable())).await;
    let none = view(Some(Duration::ZERO)).stale_source(&qa, late);
    let stale = none.expect("it fails");
    assert_eq!(stale.reason.as_deref(), Some("no answer"));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_the_sources_of_an_environment_is_told() {
    let fixture = start(None);
    let polled = Polled::default();
    let rules = SourceRules {
        environment: Some("qa".parse().expect("a name")),
        ..SourceRules::default()
    };
    let view = FleetView {
        sources: Sources::new(vec![Arc::new(fixture.source.clone())]),
        rules: [("main".to_owned(), rules)].into(),
        polled: polled.clone(),
        since: std::time::Instant::now(),
    };
    let told = |environment: &str| {
        let problems = view.problems(&environment.parse().expect("a name"));
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        problems.join("; ")
    };
    assert_eq!(told("qa"), "source 'main' has not answered yet");
    assert_eq!(told("production"), "", "it has no nodes for it");
    fixture.changed_by(Err(unavailable())).await;
    assert_eq!(told("qa"), "source 'main' cannot be read: no answer");
    fixture.changed_by(Ok(snapshot("1", &["a", "b"]))).await;
    assert_eq!(told("qa"), "");
    for id in ["b", "a"] {
        let poll = Poll {
            source: "main".into(),
            at: hotswap_core::Timestamp::from_millis(0),
            failure: Some("it answers with another token".into()),
        };
        polled.record(&id.parse().expect("an id"), poll);
    }
    assert_eq!(
        told("qa"),
        "source 'main' has 2 instances that cannot be used, such as a: it answers with another \
         token"
    );
}

#[test]
fn what_a_held_answer_has_lost_stays_while_the_others_come_back_one_by_one() {
    let mut view = View::default();
    let now = std::time::Instant::now();
    let all = ["a", "b", "c", "d"];
    view.apply(snapshot("1", &all), now);
    assert!(is_held(&view.apply(snapshot("2", &[]), now)));
    for (cursor, back) in [("3", &all[..1]), ("4", &all[..2]), ("5", &all[..3])] {
        assert!(is_held(&view.apply(snapshot(cursor, back), now)));
        assert_eq!(ids(&view.instances()), all, "{back:?}");
    }
    let asked = view.apply(snapshot("6", &all[..3]), now);
    assert!(matches!(asked, Applied::Confirmed(lost) if ids(&lost) == ["d"]));
    view.settle(&alive(&[]), now);
    assert_eq!(ids(&view.instances()), all[..3]);
    assert_eq!(view.condition(), Condition::Healthy);
}

/// A registry that never says that something has changed.
struct Deaf(Arc<Mutex<Vec<&'static str>>>);

#[async_trait]
impl Backend for Deaf {
    async fn watch(
        &mut self,
        cursor: Option<String>,
        patience: Duration,
    ) -> Result<Snapshot, Error> {
        if cursor.is_some() {
            sleep(patience).await;
        }
        let listed = self.0.lock().expect("not poisoned").clone();
        Ok(snapshot("1", &listed))
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_no_watch_tells_is_seen_by_the_next_poll_after_five_minutes() {
    let listed = Arc::new(Mutex::new(vec!["a"]));
    let clock = Arc::new(SystemClock);
    let source = WatchedSource::new("main", "deaf", clock, WatchOptions::default(), None);
    let (running, backend) = (source.clone(), Deaf(Arc::clone(&listed)));
    let _run = tokio::spawn(async move { running.run(backend).await });
    let mut changes = source.changes();
    changes.changed().await.expect("the source lives");
    listed.lock().expect("not poisoned").push("b");
    let began = Instant::now();
    while source.state().instances != 2 {
        changes.changed().await.expect("the source lives");
    }
    // Two watches are a moment apart.
    let took = began.elapsed().as_secs();
    assert_eq!(took, 300);
}

/// Panics once, then answers.
struct Panics(bool);

#[async_trait]
impl Backend for Panics {
    async fn watch(&mut self, cursor: Option<String>, _: Duration) -> Result<Snapshot, Error> {
        assert!(!std::mem::take(&mut self.0), "as the test wants");
        if cursor.is_some() {
            std::future::pending::<()>().await;
        }
        Ok(snapshot("1", &["a"]))
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_panics_has_failed_and_is_asked_again() {
    let clock = Arc::new(SystemClock);
    let source = WatchedSource::new("main", "panics", clock, WatchOptions::default(), None);
    let mut changes = source.changes();
    let running = source.clone();
    let _run = tokio::spawn(async move { running.run(Panics(true)).await });
    changes.changed().await.expect("the source lives");
    let error = source.state().last_error.expect("an error");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("panicked"), "{}", error.message);
    while source.state().instances != 1 {
        changes.changed().await.expect("the source lives");
    }
}
