//! Two engines that share a store, and tell each other what nodes report.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use hotswap_core::{Health, SystemClock};
use hotswap_protocol::Registered;
use hotswap_store::{Catalogue as _, CatalogueError};
use tokio::sync::{broadcast, watch};
use tokio::time::sleep;

use super::*;
use crate::HealthChange;
use crate::fixture::{ManualClock, MemoryCatalogue, node, registration};

/// Keeps what one engine has sent, until a test passes it on.
#[derive(Default)]
struct Sent {
    messages: Mutex<Vec<Vec<u8>>>,
    is_broken: bool,
}

#[async_trait]
impl EngineMessages for Sent {
    async fn publish(&self, message: &[u8]) -> Result<(), CatalogueError> {
        if self.is_broken {
            return Err("the connection is broken".into());
        }
        self.messages.lock().unwrap().push(message.to_owned());
        Ok(())
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<[u8]>> {
        broadcast::Sender::new(1).subscribe()
    }

    fn echoes(&self) -> watch::Receiver<u64> {
        watch::Sender::new(0).subscribe()
    }
}

/// A channel on which messages come back, unless it is cut.
#[derive(Default)]
struct Line {
    echoes: watch::Sender<u64>,
    received: Option<broadcast::Sender<Arc<[u8]>>>,
    is_cut: AtomicBool,
}

#[async_trait]
impl EngineMessages for Line {
    async fn publish(&self, _: &[u8]) -> Result<(), CatalogueError> {
        if self.is_cut.load(Ordering::Relaxed) {
            return Err("the connection is broken".into());
        }
        self.echoes.send_modify(|count| *count += 1);
        Ok(())
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<[u8]>> {
        let received = self.received.as_ref().expect("a line that others use");
        received.subscribe()
    }

    fn echoes(&self) -> watch::Receiver<u64> {
        self.echoes.subscribe()
    }
}

struct Engines {
    catalogue: Arc<MemoryCatalogue>,
    clock: Arc<ManualClock>,
    one: Registry,
    other: Registry,
}

impl Engines {
    async fn start() -> Self {
        let catalogue = Arc::<MemoryCatalogue>::default();
        catalogue.share_reports(Arc::<Sent>::default());
        let clock = Arc::<ManualClock>::default();
        let load = async || {
            let (catalogue, clock) = (Arc::clone(&catalogue), Arc::clone(&clock));
            let loaded = Registry::load(catalogue, clock, Registry::DEFAULT_INTERVAL).await;
            loaded.unwrap()
        };
        Self {
            one: load().await,
            other: load().await,
            catalogue,
            clock,
        }
    }

    /// Registers the start `boot` of a node with one engine.
    async fn register(&self, engine: &Registry, id: &str, boot: &str, port: u16) -> Registered {
        let registration = Registration {
            boot: Some(boot.to_owned()),
            instance: Some("the-folder-of-its-data".to_owned()),
            ..registration("production", &format!("http://127.0.0.1:{port}"))
        };
        engine.register(node(id), registration).await.unwrap()
    }

    fn beat(&self, engine: &Registry, boot: &str, health: NodeHealth, reason: Option<&str>) {
        let heartbeat = Heartbeat {
            health,
            reason: reason.map(str::to_owned),
            highest_fence: 0,
            boot: Some(boot.to_owned()),
            control_url: None,
            data_url: None,
            modules: None,
            readiness: None,
            traffic: None,
        };
        assert!(engine.heartbeat(&node("a"), heartbeat).unwrap().is_some());
    }
}

/// The messages in which an engine passes on what it has collected.
async fn messages(engine: &Registry) -> Vec<Vec<u8>> {
    let sent = Sent::default();
    engine.pass_on(&sent).await.unwrap();
    sent.messages.into_inner().unwrap()
}

async fn pass_on(from: &Registry, to: &Registry) {
    for message in messages(from).await {
        to.receive(&message);
    }
}

fn seen(engine: &Registry, id: &str) -> Option<(Health, String, String)> {
    let member = engine.member(&node(id))?;
    let url = member.record.control_url.clone();
    Some((member.health, member.reason.unwrap_or_default(), url))
}

#[tokio::test]
async fn what_a_node_reports_to_one_engine_the_other_one_knows() {
    let engines = Engines::start().await;
    let Engines {
        one, other, clock, ..
    } = &engines;
    let mut changes = other.subscribe();
    engines.register(one, "a", "first", 1).await;
    assert_eq!(seen(other, "a"), None);
    pass_on(one, other).await;
    assert_eq!(seen(other, "a"), seen(one, "a"));
    assert_eq!(seen(other, "a").unwrap().0, Health::Passing);

    engines.beat(
        one,
        "first",
        NodeHealth::Warning,
        Some("the disk is nearly full"),
    );
    pass_on(one, other).await;
    assert_eq!(seen(other, "a"), seen(one, "a"));
    assert_eq!(seen(other, "a").unwrap().1, "the disk is nearly full");
    let change = changes.try_recv().unwrap();
    assert_eq!(change.node, node("a"));

    // The reports that come from there keep it alive here.
    for _ in 0..4 {
        clock.advance(Registry::DEFAULT_INTERVAL * 2);
        engines.beat(one, "first", NodeHealth::Passing, None);
        pass_on(one, other).await;
    }
    assert_eq!(seen(other, "a").unwrap().0, Health::Passing);
    clock.advance(Registry::DEFAULT_INTERVAL * 6);
    assert_eq!(seen(other, "a").unwrap().0, Health::Critical);
}

#[tokio::test]
async fn of_each_node_the_last_report_is_passed_on_and_once() {
    let engines = Engines::start().await;
    let Engines { one, other, .. } = &engines;
    engines.register(one, "a", "first", 1).await;
    for reason in ["one thing", "another thing"] {
        engines.beat(one, "first", NodeHealth::Warning, Some(reason));
    }
    let sent = messages(one).await;
    let [message] = sent.as_slice() else {
        panic!("{} messages", sent.len())
    };
    let message: Message = serde_json::from_slice(message).unwrap();
    let [report] = message.reports.as_slice() else {
        panic!("{} reports", message.reports.len())
    };
    let reason = report.answer.heartbeat.reason.as_deref();
    assert_eq!(reason, Some("another thing"));
    assert!(messages(one).await.is_empty());
    // What another engine has passed on does not go round.
    engines.beat(one, "first", NodeHealth::Passing, None);
    pass_on(one, other).await;
    assert!(messages(other).await.is_empty());
}

#[tokio::test]
async fn many_reports_take_several_messages() {
    let engines = Engines::start().await;
    let Engines { one, other, .. } = &engines;
    for number in 0..=MAX_REPORTS {
        let id = format!("node-{number}");
        engines.register(one, &id, "first", 1 + number as u16).await;
    }
    let sent = messages(one).await;
    assert_eq!(sent.len(), 2);
    for message in &sent {
        other.receive(message);
    }
    assert_eq!(other.members().len(), MAX_REPORTS + 1);
}

#[tokio::test]
async fn a_report_that_was_lost_is_made_up_for_by_the_next_one() {
    let engines = Engines::start().await;
    let Engines { one, other, .. } = &engines;
    engines.register(one, "a", "first", 1).await;
    let broken = Sent {
        is_broken: true,
        ..Sent::default()
    };
    one.pass_on(&broken).await.unwrap_err();
    // A message of a newer engine.
    other.receive(b"{\"reports\": 7}");
    assert_eq!(seen(other, "a"), None);
    engines.beat(one, "first", NodeHealth::Passing, None);
    pass_on(one, other).await;
    assert_eq!(seen(other, "a"), seen(one, "a"));
}

#[tokio::test]
async fn a_report_of_an_earlier_start_of_a_node_counts_nothing() {
    let engines = Engines::start().await;
    let Engines { one, other, .. } = &engines;
    engines.register(one, "a", "first", 1).await;
    pass_on(one, other).await;
    engines.beat(one, "first", NodeHealth::Warning, Some("it stops"));
    let late = messages(one).await;
    // The node comes back, and another engine gets to know that first.
    engines.register(other, "a", "second", 2).await;
    let before = seen(other, "a");
    for message in late {
        other.receive(&message);
    }
    assert_eq!(seen(other, "a"), before);
    // The first engine learns of the new start.
    pass_on(other, one).await;
    assert_eq!(seen(one, "a"), before);
}

#[tokio::test]
async fn a_report_that_arrives_late_does_not_bring_a_deleted_node_back() {
    let engines = Engines::start().await;
    let Engines { one, other, .. } = &engines;
    engines.register(one, "a", "first", 1).await;
    engines.register(one, "b", "first", 2).await;
    pass_on(one, other).await;
    engines.beat(one, "first", NodeHealth::Warning, Some("it stops"));
    let late = messages(one).await;
    assert!(other.deregister(&node("a")).await.unwrap());
    // A node that is in the store stays, though this engine hears of it for the first time.
    other.write().remove(&node("b"));
    engines.register(one, "b", "first", 2).await;
    for message in late.into_iter().chain(messages(one).await) {
        let new = other.receive(&message);
        assert_eq!(new.len(), 1);
        other.drop_forgotten(&new).await.unwrap();
    }
    assert_eq!(seen(other, "a"), None);
    assert!(seen(other, "b").is_some());

    engines.beat(one, "first", NodeHealth::Passing, None);
    one.drop_deleted().await.unwrap();
    assert_eq!(seen(one, "a"), None);
    assert!(messages(one).await.is_empty(), "nobody is told of it");
}

/// Registers a node with another data folder than others, and the port as its address.
async fn claim(engine: &Registry, instance: &str, port: u16) -> Result<Registered, Error> {
    let registration = Registration {
        boot: Some(format!("start-of-{instance}")),
        instance: Some(instance.to_owned()),
        ..registration("production", &format!("http://127.0.0.1:{port}"))
    };
    engine.register(node("a"), registration).await
}

fn holder(refused: Result<Registered, Error>) -> String {
    match refused {
        Err(Error::Taken { holder, .. }) => holder,
        other => panic!("it is not refused: {other:?}"),
    }
}

#[tokio::test]
async fn of_two_nodes_that_register_at_once_with_two_engines_one_gets_the_id() {
    let engines = Engines::start().await;
    let Engines { one, other, .. } = &engines;
    claim(one, "first", 1).await.unwrap();
    // Nothing has been passed on.
    for _ in 0..2 {
        assert_eq!(
            holder(claim(other, "second", 2).await),
            "http://127.0.0.1:1"
        );
    }
    let url = |engine| seen(engine, "a").unwrap().2;
    assert_eq!(url(other), "http://127.0.0.1:1");
    // The one that was refused changes nothing for the other.
    engines.beat(one, "start-of-first", NodeHealth::Passing, None);
    pass_on(one, other).await;
    engines.beat(other, "start-of-first", NodeHealth::Passing, None);

    // Where its report never comes, because its engine has died, the id is free after the silence.
    let engines = Engines::start().await;
    claim(&engines.one, "first", 1).await.unwrap();
    let other = &engines.other;
    holder(claim(other, "second", 2).await);
    engines.clock.advance(Registry::DEFAULT_INTERVAL * 6);
    claim(other, "second", 2).await.unwrap();
    assert_eq!(url(other), "http://127.0.0.1:2");
}

#[tokio::test]
async fn a_node_that_was_silent_does_not_get_back_an_id_that_another_engine_gave_away() {
    let engines = Engines::start().await;
    let Engines {
        one, other, clock, ..
    } = &engines;
    claim(one, "first", 1).await.unwrap();
    pass_on(one, other).await;
    clock.advance(Registry::DEFAULT_INTERVAL * 6);
    claim(other, "second", 2).await.unwrap();
    // Its registration is the same as before, so that there is nothing to store.
    assert_eq!(holder(claim(one, "first", 1).await), "http://127.0.0.1:2");
    pass_on(other, one).await;
    assert_eq!(seen(one, "a"), seen(other, "a"));
}

#[tokio::test]
async fn a_node_that_registers_while_the_store_is_read_is_not_forgotten() {
    let engines = Engines::start().await;
    let Engines {
        one,
        other,
        catalogue,
        ..
    } = &engines;
    for (id, port) in [("a", 1), ("b", 2)] {
        engines.register(one, id, "first", port).await;
    }
    pass_on(one, other).await;
    for id in ["a", "b"] {
        assert!(one.deregister(&node(id)).await.unwrap());
    }
    let barrier = Arc::new(tokio::sync::Barrier::new(2));
    *catalogue.held_read.lock().unwrap() = Some(Arc::clone(&barrier));
    let (dropped, ()) = tokio::join!(other.drop_deleted(), async {
        // The store was read, and both are not there.
        barrier.wait().await;
        engines.register(other, "a", "second", 3).await;
        barrier.wait().await;
    });
    dropped.unwrap();
    assert_eq!(seen(other, "a").unwrap().0, Health::Passing);
    assert_eq!(seen(other, "b"), None);
    // The others are told of it, too.
    pass_on(other, one).await;
    assert_eq!(seen(one, "a"), seen(other, "a"));
}

#[tokio::test(start_paused = true)]
async fn nodes_are_not_gone_because_the_channel_to_the_other_engines_was_cut() {
    const INTERVAL: Duration = Registry::DEFAULT_INTERVAL;
    let line = Arc::new(Line {
        received: Some(broadcast::Sender::new(1)),
        ..Line::default()
    });
    let mut engines = Engines::start().await;
    engines.catalogue.share_reports(Arc::clone(&line) as _);
    let catalogue = Arc::clone(&engines.catalogue);
    let loaded = Registry::load(catalogue, Arc::new(SystemClock), INTERVAL).await;
    engines.other = loaded.unwrap();
    let other = engines.other.clone();
    tokio::spawn(async move { other.run().await });
    let Engines { one, other, .. } = &engines;
    engines.register(one, "a", "first", 1).await;
    pass_on(one, other).await;
    let health = || seen(other, "a").unwrap().0;
    assert_eq!(health(), Health::Passing);
    sleep(INTERVAL).await;

    // What the node reports to its engine is not heard here.
    line.is_cut.store(true, Ordering::Relaxed);
    sleep(INTERVAL * 30).await;
    assert_eq!(health(), Health::Passing);
    line.is_cut.store(false, Ordering::Relaxed);
    sleep(INTERVAL).await;
    assert_eq!(health(), Health::Passing);
    // From here on silence tells something.
    sleep(INTERVAL * 6).await;
    assert_eq!(health(), Health::Critical);
}

#[tokio::test]
async fn what_another_engine_has_deleted_is_forgotten() {
    let engines = Engines::start().await;
    let Engines {
        one,
        other,
        catalogue,
        ..
    } = &engines;
    for (id, port) in [("a", 1), ("b", 2)] {
        engines.register(one, id, "first", port).await;
    }
    pass_on(one, other).await;
    let mut changes = other.subscribe();
    assert!(one.deregister(&node("a")).await.unwrap());
    other.drop_deleted().await.unwrap();
    assert_eq!(seen(other, "a"), None);
    assert!(seen(other, "b").is_some());
    let gone = HealthChange {
        node: node("a"),
        health: None,
    };
    assert_eq!(changes.try_recv(), Ok(gone));
    assert_eq!(catalogue.nodes().await.unwrap().len(), 1);
    // A store that cannot be read takes nothing away.
    catalogue
        .fails
        .store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(other.drop_deleted().await.is_err());
    assert!(seen(other, "b").is_some());
}
