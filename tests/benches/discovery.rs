//! What discovery costs: look-ups, changes, idle watches, memory.
//!
//! `cargo bench --bench discovery` prints a table. It needs the programs of Consul and etcd, which
//! `cargo xtask setup --tests` installs. A look-up among 10,000 instances is compared with one in a
//! plain map. The time from a change to the view is compared with the time until a client of the
//! registry itself sees the same change: for Consul one that waits by blocking queries, as Consul's
//! own does, for etcd a watch.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use hotswap_core::{Health, NodeId, SystemClock};
use hotswap_fleet::discovery::{
    Backend, Condition, Discovery as _, Error, Instance, Snapshot, WatchOptions, WatchedSource,
};
use hotswap_plugins::discovery::{
    BackendComponent, BackendLimits, BackendSettings, DiscoveryHost, Port, Registration,
};
use hotswap_runner::discovery::ComponentBackend;
use hotswap_tests::bench::{
    cpu_time, current_section, median, print_header, print_row, resident_memory, run_each_section,
};
use hotswap_tests::{RegistryKind, RegistryServer};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

const INSTANCES: usize = 10_000;
const LOOKUPS: usize = 2_000_000;
const CHANGES: usize = 30;
const WATCHES: usize = 5;
const IDLE: Duration = Duration::from_secs(20);
const SERVICE: &str = "hotswap-node";
const MEBIBYTE: f64 = 1_048_576.0;

fn main() -> Result<()> {
    let Some(section) = current_section() else {
        print_header();
        return run_each_section(&["lookup", "memory", "consul", "etcd", "idle"]);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match section.as_str() {
            "lookup" => lookup().await,
            "memory" => memory().await,
            "consul" => latency(RegistryKind::Consul).await,
            "etcd" => latency(RegistryKind::Etcd).await,
            "idle" => idle().await,
            other => bail!("no section {other}"),
        }
    })
}

/// Answers once.
struct Once(Option<Snapshot>);

#[async_trait]
impl Backend for Once {
    async fn watch(&mut self, _: Option<String>, _: Duration) -> Result<Snapshot, Error> {
        match self.0.take() {
            Some(snapshot) => Ok(snapshot),
            None => std::future::pending().await,
        }
    }
}

fn instance(number: usize) -> Instance {
    Instance {
        id: format!("node-{number:05}").parse().expect("an id"),
        environment: Some("production".parse().expect("a name")),
        zone: Some("eu-west-1".to_owned()),
        version: Some("0.1.0".to_owned()),
        labels: BTreeMap::from([("tier".to_owned(), "edge".to_owned())]),
        control_url: Some("http://10.0.0.1:5001".to_owned()),
        data_url: Some("http://10.0.0.1:8080".to_owned()),
        health: Health::Passing,
    }
}

fn ids() -> Vec<NodeId> {
    // Not in the order of the map.
    let numbers = (0..INSTANCES).map(|number| number * 7919 % INSTANCES);
    numbers.map(|number| instance(number).id).collect()
}

async fn filled() -> (WatchedSource, AbortOnDropHandle<()>) {
    let snapshot = Snapshot {
        instances: (0..INSTANCES).map(instance).collect(),
        invalid: Vec::new(),
        cursor: "1".to_owned(),
    };
    let clock = Arc::new(SystemClock);
    let source = WatchedSource::new("main", "once", clock, WatchOptions::default(), None);
    let mut changes = source.changes();
    let running = source.clone();
    let task = tokio::spawn(async move { running.run(Once(Some(snapshot))).await });
    let _ = changes.changed().await;
    (source, AbortOnDropHandle::new(task))
}

async fn lookup() -> Result<()> {
    let (source, _task) = filled().await;
    let plain = source.instances().into_iter();
    let plain: BTreeMap<NodeId, Arc<Instance>> = plain.map(|it| (it.id.clone(), it)).collect();
    let ids = ids();
    let nanos = |lookup: &dyn Fn(&NodeId) -> Option<Arc<Instance>>| {
        let started = Instant::now();
        for id in ids.iter().cycle().take(LOOKUPS) {
            black_box(lookup(black_box(id)));
        }
        started.elapsed().as_nanos() as f64 / LOOKUPS as f64
    };
    let (mut own, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        own.push(nanos(&|id| source.instance(id)));
        bare.push(nanos(&|id| plain.get(id).cloned()));
    }
    let (own, bare) = (median(own), median(bare));
    print_row(
        "look-up among 10,000 instances",
        &format!("{own:.0} ns"),
        &format!("plain map {bare:.0} ns"),
        own / bare,
        1.5,
    );
    Ok(())
}

async fn memory() -> Result<()> {
    let before = resident_memory()? as f64;
    let plain: Vec<_> = (0..INSTANCES).map(instance).collect();
    let bare = resident_memory()? as f64 - before;
    let before = resident_memory()? as f64;
    let (source, _task) = filled().await;
    let own = resident_memory()? as f64 - before;
    black_box((plain.len(), source.state()));
    print_row(
        "memory of a view of 10,000 instances",
        &format!("{:.1} MiB", own / MEBIBYTE),
        &format!("a plain list {:.1} MiB", bare / MEBIBYTE),
        own / bare,
        3.0,
    );
    Ok(())
}

/// A registry with the component for it.
struct Watching {
    server: RegistryServer,
    component: BackendComponent,
    settings: BackendSettings,
}

impl Watching {
    async fn start(kind: RegistryKind) -> Result<Self> {
        let server = RegistryServer::start(kind).await?;
        let (bytes, servers) = match kind {
            RegistryKind::Etcd => (hotswap_guests::ETCD, "endpoints"),
            _ => (hotswap_guests::CONSUL, "agents"),
        };
        let host = DiscoveryHost::new(BackendLimits::default())?;
        Ok(Self {
            component: host.load(bytes).await?,
            settings: BackendSettings {
                config: Some(json!({ servers: [server.url()] })),
                origins: vec![server.url().parse()?],
                ..BackendSettings::new("bench")
            },
            server,
        })
    }

    fn watch(&self, service: &str) -> (WatchedSource, AbortOnDropHandle<()>) {
        let clock = Arc::new(SystemClock);
        let options = WatchOptions {
            // The changes of the bench come faster than those of a registry.
            min_interval: Duration::from_millis(1),
            ..WatchOptions::default()
        };
        let source = WatchedSource::new("main", "component", clock, options, None);
        let (component, settings) = (self.component.clone(), self.settings.clone());
        let backend = ComponentBackend::new(component, settings, service);
        let running = source.clone();
        let task = tokio::spawn(async move { running.run(backend).await });
        (source, AbortOnDropHandle::new(task))
    }
}

fn registration(port: u16) -> Registration {
    Registration {
        id: "node-1".to_owned(),
        service: SERVICE.to_owned(),
        address: "10.0.0.1".to_owned(),
        ports: vec![Port {
            name: "control".to_owned(),
            number: port,
        }],
        version: None,
        zone: None,
        metadata: Vec::new(),
        check: None,
        deregister_after: None,
    }
}

async fn latency(kind: RegistryKind) -> Result<()> {
    let watching = Watching::start(kind).await?;
    let (source, _task) = watching.watch(SERVICE);
    let mut writer = watching.component.start(watching.settings.clone()).await?;
    writer.register(registration(1)).await?;
    let (seen, mut client) = watch::channel(0);
    let url = watching.server.url();
    let own = match kind {
        RegistryKind::Etcd => tokio::spawn(etcd_client(url, seen)),
        _ => tokio::spawn(consul_client(url, seen)),
    };
    let _own = AbortOnDropHandle::new(own);
    let mut changes = source.changes();
    let shows = |port: u16| {
        let url = format!("http://10.0.0.1:{port}");
        let shown = source.instances();
        shown.iter().any(|it| it.control_url.as_ref() == Some(&url))
    };
    while !shows(1) {
        changes.changed().await?;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (mut views, mut clients) = (Vec::new(), Vec::new());
    for port in 2..=CHANGES as u16 + 1 {
        client.mark_unchanged();
        let started = Instant::now();
        writer.register(registration(port)).await?;
        let view = async {
            while !shows(port) {
                changes.changed().await?;
            }
            anyhow::Ok(started.elapsed())
        };
        let other = async {
            client.changed().await?;
            anyhow::Ok(started.elapsed())
        };
        let (view, other) = tokio::try_join!(view, other)?;
        views.push(view.as_secs_f64() * 1e3);
        clients.push(other.as_secs_f64() * 1e3);
        // Both wait for the next change again.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let (view, other) = (median(views), median(clients));
    print_row(
        &format!("{kind:?}: from a change to the view"),
        &format!("{view:.1} ms"),
        &format!("a client of its own {other:.1} ms"),
        view / other,
        3.0,
    );
    Ok(())
}

async fn consul_client(url: String, seen: watch::Sender<u64>) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut index = 0_u64;
    loop {
        let path = format!("{url}/v1/health/service/{SERVICE}?index={index}&wait=60s");
        let answer = client.get(path).send().await?;
        let latest = answer.headers().get("x-consul-index");
        let latest = latest.context("no index")?.to_str()?.parse()?;
        answer.bytes().await?;
        if latest != index {
            index = latest;
            seen.send_modify(|count| *count += 1);
        }
    }
}

async fn etcd_client(url: String, seen: watch::Sender<u64>) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    // Everything.
    let body = json!({ "create_request": { "key": "AA==", "range_end": "AA==" } });
    let answer = client.post(format!("{url}/v3/watch")).json(&body).send();
    let mut lines = answer.await?.bytes_stream();
    while let Some(chunk) = lines.next().await {
        let text = String::from_utf8(chunk?.to_vec())?;
        let has_events = text.lines().any(|line| {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            line["result"]["events"].is_array()
        });
        if has_events {
            seen.send_modify(|count| *count += 1);
        }
    }
    bail!("etcd has ended the watch")
}

async fn idle() -> Result<()> {
    let watching = Watching::start(RegistryKind::Consul).await?;
    let before = resident_memory()? as f64;
    let mut running = Vec::new();
    for number in 0..WATCHES {
        running.push(watching.watch(&format!("{SERVICE}-{number}")));
    }
    for (source, _) in &running {
        let mut changes = source.changes();
        while source.state().condition != Condition::Healthy {
            changes.changed().await?;
        }
    }
    // The first answers come at once.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let memory = (resident_memory()? as f64 - before) / MEBIBYTE;
    let used = cpu_time();
    tokio::time::sleep(IDLE).await;
    let share = (cpu_time() - used).as_secs_f64() / IDLE.as_secs_f64();
    print_row(
        "CPU of five idle watches",
        &format!("{:.3} % of a core", share * 100.0),
        "1 % of a core",
        share / 0.01,
        1.0,
    );
    print_row(
        "memory of five idle watches",
        &format!("{memory:.1} MiB"),
        "50 MiB",
        memory / 50.0,
        1.0,
    );
    Ok(())
}
