//! What discovery costs: look-ups, changes, idle watches, memory.
//!
//! `cargo bench --bench discovery` prints a table. It needs the programs of the registries, which
//! `cargo xtask setup --tests` installs. A look-up among 10,000 instances is compared with one in a
//! plain map. The time from a change to the view is compared with the time until a client of the
//! registry itself sees the same change: for Consul one that waits by blocking queries, as Consul's
//! own does, for etcd and Kubernetes a watch. DNS has no changes to wait for: what the engine was
//! told is believed for the time to live, and for five seconds at least, and then the component asks
//! within its interval. There the time is compared with that floor and the interval together.
//! 10,000 instances that a component lists are compared with a client of etcd that lists and reads
//! the same.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use hotswap_common::Secret;
use hotswap_core::{Health, NodeId, SystemClock};
use hotswap_fleet::discovery::{
    Backend, Condition, Discovery as _, Error, Instance, Snapshot, WatchOptions, WatchedSource,
};
use hotswap_plugins::discovery::{
    BackendComponent, BackendLimits, BackendSettings, DiscoveryHost, DnsOptions, DnsResolver,
    Registration, TlsFiles, registration,
};
use hotswap_runner::discovery::ComponentBackend;
use hotswap_tests::bench::{
    cpu_time, current_section, median, print_header, print_row, resident_memory, run_each_section,
};
use hotswap_tests::{KubeApiServer, NameServer, RegistryKind, RegistryServer};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

const INSTANCES: usize = 10_000;
const LOOKUPS: usize = 2_000_000;
const CHANGES: u16 = 30;
const DNS_CHANGES: u16 = 8;
const LISTS: usize = 7;
const WATCHES: usize = 5;
/// How often the component for DNS asks.
const DNS_INTERVAL: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(20);
const SERVICE: &str = "hotswap-node";
const MEBIBYTE: f64 = 1_048_576.0;

fn main() -> Result<()> {
    let Some(section) = current_section() else {
        print_header();
        return run_each_section(&[
            "lookup",
            "memory",
            "component",
            "consul",
            "etcd",
            "kubernetes",
            "dns",
            "idle",
        ]);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match section.as_str() {
            "lookup" => lookup().await,
            "memory" => memory().await,
            "component" => component().await,
            "consul" => registry(RegistryKind::Consul).await,
            "etcd" => registry(RegistryKind::Etcd).await,
            "kubernetes" => kubernetes().await,
            "dns" => dns().await,
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

/// A component, and what it is started with.
struct Watching {
    component: BackendComponent,
    settings: BackendSettings,
}

impl Watching {
    async fn new(component: &[u8], settings: BackendSettings) -> Result<Self> {
        let host = DiscoveryHost::new(BackendLimits::default())?;
        Ok(Self {
            component: host.load(component).await?,
            settings,
        })
    }

    async fn of_registry(kind: RegistryKind, server: &RegistryServer) -> Result<Self> {
        let (component, servers) = match kind {
            RegistryKind::Etcd => (hotswap_guests::ETCD, "endpoints"),
            _ => (hotswap_guests::CONSUL, "agents"),
        };
        let settings = BackendSettings {
            config: Some(json!({ servers: [server.url()] })),
            origins: vec![server.url().parse()?],
            ..BackendSettings::new("bench")
        };
        Self::new(component, settings).await
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

/// How long each change takes to be seen, in milliseconds.
struct Latencies {
    view: Vec<f64>,
    client: Vec<f64>,
}

/// Changes the port of an instance again and again, and measures when the view shows it and when
/// `client` sees it. Without a client, only the view is waited for.
async fn measure(
    watching: &Watching,
    changes: u16,
    mut client: Option<watch::Receiver<u64>>,
    mut change: impl AsyncFnMut(u16) -> Result<()>,
) -> Result<Latencies> {
    let (source, _task) = watching.watch(SERVICE);
    change(1).await?;
    let mut views = source.changes();
    let shows = |port: u16| {
        let url = format!("http://10.0.0.1:{port}");
        let shown = source.instances();
        shown.iter().any(|it| it.control_url.as_ref() == Some(&url))
    };
    while !shows(1) {
        views.changed().await?;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut latencies = Latencies {
        view: Vec::new(),
        client: Vec::new(),
    };
    for port in 2..=changes + 1 {
        if let Some(client) = &mut client {
            client.mark_unchanged();
        }
        let started = Instant::now();
        change(port).await?;
        let view = async {
            while !shows(port) {
                views.changed().await?;
            }
            anyhow::Ok(started.elapsed())
        };
        let other = async {
            if let Some(client) = &mut client {
                client.changed().await?;
            }
            anyhow::Ok(started.elapsed())
        };
        let (view, other) = tokio::try_join!(view, other)?;
        latencies.view.push(view.as_secs_f64() * 1e3);
        latencies.client.push(other.as_secs_f64() * 1e3);
        // Both wait for the next change again.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    Ok(latencies)
}

fn print_latency(name: &str, latencies: Latencies) {
    let (view, other) = (median(latencies.view), median(latencies.client));
    print_row(
        &format!("{name}: from a change to the view"),
        &format!("{view:.1} ms"),
        &format!("a client of its own {other:.1} ms"),
        view / other,
        3.0,
    );
}

async fn registry(kind: RegistryKind) -> Result<()> {
    let server = RegistryServer::start(kind).await?;
    let watching = Watching::of_registry(kind, &server).await?;
    let mut writer = watching.component.start(watching.settings.clone()).await?;
    writer.register(instance_at(9)).await?;
    let (seen, client) = watch::channel(0);
    let own = match kind {
        RegistryKind::Etcd => tokio::spawn(etcd_client(server.url(), seen)),
        _ => tokio::spawn(consul_client(server.url(), seen)),
    };
    let _own = AbortOnDropHandle::new(own);
    let change = async |port| Ok(writer.register(instance_at(port)).await?);
    let latencies = measure(&watching, CHANGES, Some(client), change).await?;
    print_latency(&format!("{kind:?}"), latencies);
    Ok(())
}

async fn kubernetes() -> Result<()> {
    let server = Arc::new(KubeApiServer::start().await?);
    let rules = json!([{ "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
        "verbs": ["list", "watch"] }]);
    let token = Secret::new(server.account("bench", &rules).await?);
    let settings = BackendSettings {
        config: Some(json!({ "apiServers": [server.url()], "podLabels": false })),
        origins: vec![server.url().parse()?],
        tls: TlsFiles {
            authorities: Some(server.authority()),
            client: None,
        },
        secrets: [("token".to_owned(), token.into())].into(),
        ..BackendSettings::new("bench")
    };
    let watching = Watching::new(hotswap_guests::KUBERNETES, settings).await?;
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let slice = |port: u16| {
        json!({
            "metadata": {
                "name": "bench", "labels": { "kubernetes.io/service-name": SERVICE },
            },
            "addressType": "IPv4",
            "endpoints": [{ "addresses": ["10.0.0.1"] }],
            "ports": [{ "name": "control", "port": port }],
        })
    };
    server.create(slices, &slice(9)).await?;
    let (seen, client) = watch::channel(0);
    let watched = Arc::clone(&server);
    let own = tokio::spawn(async move {
        let path = format!("{slices}?watch=1");
        let count = |_: &[u8]| seen.send_modify(|count| *count += 1);
        watched.watch(&path, count).await
    });
    let _own = AbortOnDropHandle::new(own);
    let change = async |port: u16| {
        let path = format!("{slices}/bench");
        let slice = slice(port).to_string();
        server.request("PUT", &path, &slice).await.map(drop)
    };
    let latencies = measure(&watching, CHANGES, Some(client), change).await?;
    print_latency("Kubernetes", latencies);
    Ok(())
}

async fn dns() -> Result<()> {
    let mut server = NameServer::start().await?;
    let name = format!("_{SERVICE}._tcp.{}", NameServer::ZONE);
    let options = DnsOptions {
        name_server: Some(server.addr()),
        ..DnsOptions::default()
    };
    let bound = (options.min_ttl + DNS_INTERVAL).as_secs_f64() * 1e3;
    let settings = BackendSettings {
        config: Some(json!({ "name": name, "interval": format!("{}s", DNS_INTERVAL.as_secs()) })),
        names: vec![name],
        resolver: Arc::new(DnsResolver::new(options)),
        ..BackendSettings::new("bench")
    };
    let watching = Watching::new(hotswap_guests::DNS, settings).await?;
    let change = async |port: u16| {
        let records = format!("_{SERVICE}._tcp 1 SRV 0 1 {port} node-1\nnode-1 1 A 10.0.0.1\n");
        server.publish(records).await
    };
    let latencies = measure(&watching, DNS_CHANGES, None, change).await?;
    let view = median(latencies.view);
    print_row(
        "DNS: from a change to the view",
        &format!("{view:.0} ms"),
        &format!("TTL floor, interval {bound:.0} ms"),
        view / bound,
        1.1,
    );
    Ok(())
}

/// Beside a client that gets the same list and reads each instance, without a component.
async fn component() -> Result<()> {
    let server = RegistryServer::start(RegistryKind::Etcd).await?;
    fill(&server).await?;
    let watching = Watching::of_registry(RegistryKind::Etcd, &server).await?;
    let before = resident_memory()? as f64;
    let listed = find_all(&watching).await?;
    let memory = (resident_memory()? as f64 - before) / MEBIBYTE;
    drop(listed);
    let client = reqwest::Client::builder().no_proxy().build()?;
    let (mut own, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..LISTS {
        let started = Instant::now();
        let listed = find_all(&watching).await?;
        own.push(started.elapsed().as_secs_f64() * 1e3);
        drop(listed);
        let started = Instant::now();
        let listed = list_all(&client, &server.url()).await?;
        bare.push(started.elapsed().as_secs_f64() * 1e3);
        ensure!(listed.len() == INSTANCES, "{} instances", listed.len());
    }
    let (own, bare) = (median(own), median(bare));
    print_row(
        "10,000 instances of etcd: to the view",
        &format!("{own:.0} ms"),
        &format!("a client of its own {bare:.0} ms"),
        own / bare,
        5.0,
    );
    print_row(
        "memory of 10,000 instances with their component",
        &format!("{memory:.1} MiB"),
        "128 MiB",
        memory / 128.0,
        1.0,
    );
    Ok(())
}

/// Starts to watch, and returns once the view has all.
async fn find_all(watching: &Watching) -> Result<(WatchedSource, AbortOnDropHandle<()>)> {
    let (source, task) = watching.watch(SERVICE);
    let mut changes = source.changes();
    while source.state().instances < INSTANCES {
        changes.changed().await?;
    }
    Ok((source, task))
}

/// Puts all instances into etcd, as many at once as it takes.
async fn fill(server: &RegistryServer) -> Result<()> {
    let numbers: Vec<_> = (0..INSTANCES).collect();
    for numbers in numbers.chunks(100) {
        let puts = numbers.iter().map(|number| {
            let key = format!("/hotswap/{SERVICE}/node-{number:05}");
            let value = json!({
                "address": "10.0.0.1", "ports": { "control": 5001, "data": 8080 },
                "health": "passing", "version": "0.1.0", "zone": "eu-west-1", "weight": 1,
                "metadata": { "environment": "production", "tier": "edge" },
            });
            let value = STANDARD.encode(value.to_string());
            json!({ "request_put": { "key": STANDARD.encode(key), "value": value } })
        });
        let body = json!({ "success": puts.collect::<Vec<_>>() }).to_string();
        server.request("POST", "/v3/kv/txn", &body).await?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Range {
    kvs: Vec<KeyValue>,
}

#[derive(Deserialize)]
struct KeyValue {
    key: String,
    value: String,
}

#[derive(Deserialize)]
struct Document {
    address: String,
    ports: BTreeMap<String, u16>,
    version: String,
    zone: String,
    metadata: BTreeMap<String, String>,
}

async fn list_all(client: &reqwest::Client, url: &str) -> Result<Vec<Instance>> {
    // Everything.
    let body = json!({ "key": "AA==", "range_end": "AA==" });
    let answer = client.post(format!("{url}/v3/kv/range")).json(&body).send();
    let range: Range = serde_json::from_slice(&answer.await?.bytes().await?)?;
    let instance = |entry: KeyValue| {
        let key = String::from_utf8(STANDARD.decode(entry.key)?)?;
        let id = key.rsplit('/').next().unwrap_or_default().parse()?;
        let mut found: Document = serde_json::from_slice(&STANDARD.decode(entry.value)?)?;
        let environment = found.metadata.remove("environment");
        let url = |port: &str| {
            Some(format!(
                "http://{}:{}",
                found.address,
                found.ports.get(port)?
            ))
        };
        Ok(Instance {
            id,
            environment: environment.map(|name| name.parse()).transpose()?,
            control_url: url("control"),
            data_url: url("data"),
            zone: Some(found.zone),
            version: Some(found.version),
            labels: found.metadata,
            health: Health::Passing,
        })
    };
    range.kvs.into_iter().map(instance).collect()
}

fn instance_at(port: u16) -> Registration {
    registration(SERVICE, "node-1", "10.0.0.1", &[("control", port)])
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
    let server = RegistryServer::start(RegistryKind::Consul).await?;
    let watching = Watching::of_registry(RegistryKind::Consul, &server).await?;
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
