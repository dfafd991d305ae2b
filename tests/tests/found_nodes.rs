//! Nodes that report in to no engine: a registry names them, and the engine asks them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use hotswap_core::{Health, NodeId, Status};
use hotswap_fleet::discovery::{
    Condition, Discovery, Error, Instance, Networks, Outcomes, Polled, SourceRules, SourceState,
    Sources,
};
use hotswap_fleet::{Options, PollClient};
use hotswap_runner::discovery::{EngineUrl, PollConfig};
use hotswap_tests::{Cluster, NODE_TOKEN};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// Time limit of each wait. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How old the view of the list may be for a new deployment.
const MAX_AGE: Duration = Duration::from_secs(60);

/// A registry whose content a test sets.
struct List {
    /// For how long it has not answered.
    failing_for: Mutex<Option<Duration>>,
    instances: Mutex<BTreeMap<NodeId, Arc<Instance>>>,
    changes: watch::Sender<u64>,
}

#[async_trait]
impl Discovery for List {
    fn name(&self) -> &str {
        "list"
    }

    fn kind(&self) -> &str {
        "list"
    }

    fn instances(&self) -> Vec<Arc<Instance>> {
        let instances = self.instances.lock();
        let instances = instances.unwrap_or_else(PoisonError::into_inner);
        instances.values().cloned().collect()
    }

    fn state(&self) -> SourceState {
        let failing_for = self.failing_for.lock();
        let failing_for = *failing_for.unwrap_or_else(PoisonError::into_inner);
        SourceState {
            condition: match failing_for {
                Some(_) => Condition::Stale,
                None => Condition::Healthy,
            },
            age: Some(failing_for.unwrap_or_default()),
            last_error: None,
            instances: self.instances().len(),
            passing: 0,
            invalid: 0,
            invalid_example: None,
            held: None,
            outcomes: Outcomes::default(),
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn refresh(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl List {
    /// Lists an instance at this control URL, in the environment `qa`.
    fn add(&self, id: &str, control_url: &str) -> Result<()> {
        let id: NodeId = id.parse()?;
        let instance = Instance {
            id: id.clone(),
            environment: Some("qa".parse()?),
            zone: Some("eu".to_owned()),
            version: None,
            labels: BTreeMap::new(),
            control_url: Some(control_url.to_owned()),
            data_url: None,
            // Registries may know nothing of it.
            health: Health::Unknown,
        };
        self.change(|instances| {
            instances.insert(id, Arc::new(instance));
        });
        Ok(())
    }

    fn remove(&self, id: &NodeId) {
        self.change(|instances| {
            instances.remove(id);
        });
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<NodeId, Arc<Instance>>)) {
        let instances = self.instances.lock();
        change(&mut instances.unwrap_or_else(PoisonError::into_inner));
        self.changes.send_modify(|count| *count += 1);
    }
}

/// An engine that knows nodes only through a list.
struct Fixture {
    cluster: Cluster,
    list: Arc<List>,
    polled: Polled,
}

/// A server that takes connections, and answers nothing.
struct Hanging {
    url: String,
    /// How many connections it has, of which it closes none.
    held: watch::Receiver<usize>,
    _task: AbortOnDropHandle<()>,
}

impl Hanging {
    /// With `closes_first` it closes the first connection on which a node is asked for.
    async fn start(closes_first: bool) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (count, held) = watch::channel(0);
        let task = tokio::spawn(async move {
            let (mut known, mut connections) = (BTreeSet::new(), Vec::new());
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = vec![0; 4096];
                let length = stream.read(&mut bytes).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&bytes[..length]).to_lowercase();
                let asked = head.lines().find(|line| line.starts_with("hotswap-node:"));
                let is_first = known.insert(asked.unwrap_or_default().to_owned());
                if !(is_first && closes_first) {
                    connections.push(stream);
                    count.send_replace(connections.len());
                }
            }
        });
        Ok(Self {
            url,
            held,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// Waits until it has so many connections.
    async fn holds(&self, count: usize) -> Result<()> {
        let mut held = self.held.clone();
        let reached = timeout(TIMEOUT, held.wait_for(|held| *held >= count)).await;
        reached.with_context(|| format!("it has {} connections", *self.held.borrow()))??;
        Ok(())
    }
}

impl Fixture {
    async fn start(networks: &[&str]) -> Result<Self> {
        Self::start_with(networks, Options::default().request_timeout).await
    }

    /// An engine that gives a found node this time for an answer.
    async fn start_with(networks: &[&str], request_timeout: Duration) -> Result<Self> {
        let cluster = Cluster::start(&[]).await?;
        let list = Arc::new(List {
            failing_for: Mutex::default(),
            instances: Mutex::default(),
            changes: watch::Sender::new(0),
        });
        let polled = Polled::default();
        let networks: Result<_, _> = networks.iter().map(|text| text.parse()).collect();
        let rules = SourceRules {
            networks: Networks::new(networks?),
            max_age: Some(MAX_AGE),
            ..SourceRules::default()
        };
        let token = hotswap_common::Secret::new(NODE_TOKEN);
        let options = Options {
            request_timeout,
            ..Options::default()
        };
        cluster.engine.poll_nodes(PollConfig {
            sources: Sources::new(vec![Arc::clone(&list) as Arc<dyn Discovery>]),
            rules: BTreeMap::from([("list".to_owned(), rules)]),
            client: PollClient::new(token.into(), &options, &Default::default())?.into(),
            engine_url: EngineUrl::Advertised(cluster.url.clone()),
            interval: Duration::from_millis(500),
            polled: polled.clone(),
        });
        cluster.upload_samples().await?;
        Ok(Self {
            cluster,
            list,
            polled,
        })
    }

    /// Starts a node that knows no engine, and lists it.
    async fn add_node(&mut self, id: &str) -> Result<NodeId> {
        let node = self.start_node(id).await?;
        self.list_node(&node)?;
        Ok(node)
    }

    fn list_node(&self, node: &NodeId) -> Result<()> {
        let addr = self.cluster.nodes[node].control_addr();
        self.list.add(node.as_str(), &format!("http://{addr}"))
    }

    /// Starts a node that knows no engine.
    async fn start_node(&mut self, id: &str) -> Result<NodeId> {
        let node: NodeId = id.parse()?;
        let started = self
            .cluster
            .start_node_with(node.clone(), "qa".parse()?, |config| {
                // The list says it.
                config.environment = None;
                config.engine_url = None;
                config.is_discovered = true;
            });
        started.await?;
        Ok(node)
    }

    fn health(&self, id: &NodeId) -> Option<Health> {
        let member = self.cluster.engine.registry.member(id);
        member.map(|member| member.health)
    }

    async fn until_health(&self, id: &NodeId, health: Health) -> Result<()> {
        let what = format!("{id} is {health:?}");
        until(&what, || self.health(id) == Some(health)).await
    }

    /// Why an instance was not taken as a node, once it was asked.
    async fn failure(&self, id: &str) -> Result<String> {
        let id: NodeId = id.parse()?;
        until("it was asked", || self.polled.get(&id).is_some()).await?;
        let poll = self.polled.get(&id).context("it was asked")?;
        let failure = poll.failure.context("it was taken as a node")?;
        Ok(failure.to_string())
    }

    fn is_ready(&self, id: &NodeId) -> bool {
        self.cluster.nodes[id].check_ready().is_ok()
    }

    async fn versions(&self) -> Vec<Option<String>> {
        let versions = self.cluster.active_versions("qa", "hello").await;
        versions.unwrap_or_default().into_values().collect()
    }
}

async fn until(what: &str, is_met: impl Fn() -> bool) -> Result<()> {
    let met = timeout(TIMEOUT, async {
        while !is_met() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    met.await.with_context(|| what.to_owned())
}

const LOOPBACK: &[&str] = &["127.0.0.0/8"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_only_a_registry_knows_are_deployed_to_and_repaired() -> Result<()> {
    let mut fixture = Fixture::start(LOOPBACK).await?;
    for id in ["a", "b"] {
        let node = fixture.add_node(id).await?;
        fixture.until_health(&node, Health::Passing).await?;
        until("it is ready", || fixture.is_ready(&node)).await?;
        let member = fixture.cluster.engine.registry.member(&node);
        let member = member.context("it is registered")?;
        assert_eq!(member.found_in.as_deref(), Some("list"));
        assert_eq!(member.record.zone.as_deref(), Some("eu"));
    }
    let direct = ("direct", json!({}));
    // They fetch the artifact from the engine that has asked them.
    let state = fixture
        .cluster
        .roll_out(("hello", "1.0.0"), "qa", direct)
        .await?;
    assert_eq!(state.status(), Status::Succeeded);
    assert_eq!(fixture.versions().await, vec![Some("1.0.0".to_owned()); 2]);
    // One that joins gets what was decided, and is not ready before.
    let joined = fixture.add_node("c").await?;
    until("it is ready", || fixture.is_ready(&joined)).await?;
    assert_eq!(fixture.versions().await, vec![Some("1.0.0".to_owned()); 3]);
    // What a person decides reaches it.
    let nodes = &fixture.cluster.engine.nodes;
    let (by, reason) = ("ada".to_owned(), None);
    nodes.drain(&joined, by.clone(), reason, true).await?;
    until("it is drained", || !fixture.is_ready(&joined)).await?;
    nodes.uncordon(&joined, by, None).await?;
    until("it is ready again", || fixture.is_ready(&joined)).await?;
    fixture.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_its_registry_forgets_takes_part_until_it_does_not_answer() -> Result<()> {
    let mut fixture = Fixture::start(LOOPBACK).await?;
    let node = fixture.add_node("a").await?;
    fixture.until_health(&node, Health::Passing).await?;
    fixture.list.remove(&node);
    let direct = ("direct", json!({}));
    let cluster = &fixture.cluster;
    cluster.roll_out(("hello", "1.0.0"), "qa", direct).await?;
    assert_eq!(fixture.health(&node), Some(Health::Passing));
    let running = fixture.cluster.nodes.remove(&node).context("it runs")?;
    running.shutdown().await;
    fixture.until_health(&node, Health::Critical).await?;
    assert!(fixture.cluster.resources.fleet.has_stopped(&node));
    fixture.add_node("a").await?;
    fixture.until_health(&node, Health::Passing).await?;
    assert!(!fixture.cluster.resources.fleet.has_stopped(&node));
    fixture.cluster.shutdown().await;
    Ok(())
}

/// As a node that its registry lost with its old address, and that comes back at another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_listed_again_while_its_last_question_runs_is_asked() -> Result<()> {
    let mut fixture = Fixture::start_with(LOOPBACK, Duration::from_secs(2)).await?;
    let node = fixture.start_node("a").await?;
    let hanging = Hanging::start(false).await?;
    fixture.list.add("a", &hanging.url)?;
    let has_failed = || {
        let poll = fixture.polled.get(&node);
        poll.is_some_and(|poll| poll.failure.is_some())
    };
    until("it does not answer", has_failed).await?;
    let before = *hanging.held.borrow();
    fixture.list.remove(&node);
    hanging.holds(before + 1).await?;
    fixture.list_node(&node)?;
    fixture.until_health(&node, Health::Passing).await?;
    fixture.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_joins_does_not_wait_for_many_that_do_not_answer() -> Result<()> {
    // Longer than this test waits.
    let mut fixture = Fixture::start_with(LOOPBACK, 2 * TIMEOUT).await?;
    let hanging = Hanging::start(true).await?;
    for number in 0..40 {
        fixture.list.add(&format!("gone-{number}"), &hanging.url)?;
    }
    // As many as are tried again at the same time.
    hanging.holds(32).await?;
    let node = fixture.add_node("a").await?;
    fixture.until_health(&node, Health::Passing).await?;
    fixture.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_proves_again_who_it_is_and_is_asked_at_its_new_address() -> Result<()> {
    let mut fixture = Fixture::start(LOOPBACK).await?;
    let node = fixture.add_node("a").await?;
    let boot = |fixture: &Fixture| {
        let member = fixture.cluster.engine.registry.member(&node);
        member.and_then(|member| member.boot)
    };
    fixture.until_health(&node, Health::Passing).await?;
    let first = boot(&fixture);
    let running = fixture.cluster.nodes.remove(&node).context("it runs")?;
    running.shutdown().await;
    fixture.add_node("a").await?;
    until("its new start is known", || {
        boot(&fixture).is_some() && boot(&fixture) != first
    })
    .await?;
    until("it is ready", || fixture.is_ready(&node)).await?;
    fixture.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_token_is_sent_to_nobody_who_has_not_proven_to_have_it() -> Result<()> {
    let mut fixture = Fixture::start(LOOPBACK).await?;
    let genuine = fixture.add_node("genuine").await?;
    let genuine = fixture.cluster.nodes[&genuine].control_addr();
    // Passes on to the genuine node what the engine says, and back.
    let relay = TcpListener::bind("127.0.0.1:0").await?;
    let relay_addr = relay.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = relay.accept().await {
            if let Ok(mut node) = TcpStream::connect(genuine).await {
                let _ = copy_bidirectional(&mut stream, &mut node).await;
            }
        }
    });
    let (seen, thief_addr) = thief().await?;
    fixture.list.add("thief", &format!("http://{thief_addr}"))?;
    let failure = fixture.failure("thief").await?;
    ensure!(failure.contains("not a HotSwap node"), "{failure}");
    // Under its own id, the genuine node is now said to be elsewhere.
    fixture
        .list
        .add("genuine", &format!("http://{relay_addr}"))?;
    let id: NodeId = "genuine".parse()?;
    let has_failed = || {
        fixture
            .polled
            .get(&id)
            .is_some_and(|poll| poll.failure.is_some())
    };
    until("the relay is found out", has_failed).await?;
    let failure = fixture.failure("genuine").await?;
    ensure!(failure.contains("the registry says"), "{failure}");
    let requests = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ensure!(requests.contains("/v1/identity"), "{requests}");
    ensure!(!requests.contains(NODE_TOKEN), "{requests}");
    ensure!(
        !requests.to_lowercase().contains("authorization"),
        "{requests}"
    );
    fixture.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_cannot_make_the_engine_ask_its_own_machine() -> Result<()> {
    let fixture = Fixture::start(&[]).await?;
    let (seen, addr) = thief().await?;
    for (id, host) in [
        ("literal", "127.0.0.1"),
        ("name", "localhost"),
        ("mapped", "[::ffff:127.0.0.1]"),
        ("cloud", "169.254.169.254"),
    ] {
        fixture
            .list
            .add(id, &format!("http://{host}:{}", addr.port()))?;
        let failure = fixture.failure(id).await?;
        ensure!(failure.contains("name the network"), "{id}: {failure}");
    }
    let requests = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ensure!(requests.is_empty(), "{requests}");
    fixture.cluster.shutdown().await;
    Ok(())
}

/// Answers every request, and keeps what was sent.
async fn thief() -> Result<(Arc<Mutex<String>>, std::net::SocketAddr)> {
    use tokio::io::AsyncWriteExt as _;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let seen = Arc::<Mutex<String>>::default();
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut bytes = vec![0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                    let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                    log.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push_str(&text);
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                    let _ = stream.write_all(answer).await;
                }
            });
        }
    });
    Ok((seen, addr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_node_can_be_used_a_deployment_says_what_is_wrong_with_the_source() -> Result<()> {
    let fixture = Fixture::start(&[]).await?;
    fixture.list.add("a", "http://169.254.169.254:80")?;
    fixture.failure("a").await?;
    let direct = ("direct", json!({}));
    let refused = fixture
        .cluster
        .deploy(("hello", "1.0.0"), "qa", direct)
        .await;
    let refused = refused.err().context("it is refused")?.to_string();
    ensure!(
        refused.contains("no nodes: source 'list' has an instance that cannot be used, such as a:")
            && refused.contains("name the network"),
        "{refused}"
    );
    fixture.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_registry_fails_for_too_long_only_rollbacks_begin() -> Result<()> {
    let mut fixture = Fixture::start(LOOPBACK).await?;
    let node = fixture.add_node("a").await?;
    fixture.until_health(&node, Health::Passing).await?;
    let cluster = &fixture.cluster;
    let direct = || ("direct", json!({}));
    cluster.roll_out(("hello", "1.0.0"), "qa", direct()).await?;
    let second = cluster.roll_out(("hello", "2.0.0"), "qa", direct()).await?;
    let fail_for = |span| {
        let failing_for = fixture.list.failing_for.lock();
        *failing_for.unwrap_or_else(PoisonError::into_inner) = span;
    };
    fail_for(Some(MAX_AGE));
    cluster.roll_out(("hello", "3.0.0"), "qa", direct()).await?;
    fail_for(Some(MAX_AGE + Duration::from_secs(1)));
    let refused = cluster.deploy(("hello", "1.0.0"), "qa", direct()).await;
    let refused = refused.err().context("it is refused")?.to_string();
    ensure!(
        refused.contains("'list'") && refused.contains("1m 1s"),
        "{refused}"
    );
    let rollback = hotswap_tests::new_rollback(Some("1.0.0"))?;
    let deployments = &cluster.engine.deployments;
    let rollback = deployments.rollback(second.header.id, rollback).await?;
    let state = cluster.wait_for_end(rollback.id).await?;
    assert_eq!(state.status(), Status::Succeeded);
    assert_eq!(fixture.versions().await, vec![Some("1.0.0".to_owned())]);
    fail_for(None);
    fixture
        .cluster
        .roll_out(("hello", "2.0.0"), "qa", direct())
        .await?;
    fixture.cluster.shutdown().await;
    Ok(())
}
