use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use hotswap_plugins::discovery::{BackendSettings, DnsOptions, DnsResolver};
use hotswap_tests::NameServer;
use hotswap_tests::bench::{median, print_row};
use serde_json::json;

use crate::watching::Watching;
use crate::{SERVICE, idle, latency};

const CHANGES: u16 = 8;
/// How often the component asks.
const INTERVAL: Duration = Duration::from_secs(1);

fn options(server: &NameServer) -> DnsOptions {
    DnsOptions {
        name_server: Some(server.addr()),
        ..DnsOptions::default()
    }
}

/// The name that a service has in the zone.
fn name(service: &str) -> String {
    format!("_{service}._tcp.{}", NameServer::ZONE)
}

async fn watching(server: &NameServer, services: &[String]) -> Result<Watching> {
    let settings = BackendSettings {
        names: services.iter().map(|service| name(service)).collect(),
        resolver: Arc::new(DnsResolver::new(options(server))),
        ..BackendSettings::new("bench")
    };
    Watching::new(hotswap_guests::DNS, settings).await
}

/// How soon the view has a change, beside how long an answer is believed.
pub async fn measure_latency() -> Result<()> {
    let mut server = NameServer::start().await?;
    let bound = (options(&server).min_ttl + INTERVAL).as_secs_f64() * 1e3;
    let interval = format!("{}s", INTERVAL.as_secs());
    let watching = watching(&server, &[SERVICE.to_owned()]).await?;
    let watching = watching.with_config(json!({ "name": name(SERVICE), "interval": interval }));
    let change = async |port: u16| {
        let records = format!("_{SERVICE}._tcp 1 SRV 0 1 {port} node-1\nnode-1 1 A 10.0.0.1\n");
        server.publish(records).await
    };
    let latencies = latency::measure(&watching, CHANGES, None, change).await?;
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

/// What watches cost while nothing changes: they ask again and again, at the interval that an engine
/// has where nobody sets one.
pub async fn measure_idle() -> Result<()> {
    let mut server = NameServer::start().await?;
    let services = idle::services();
    let mut records = "node-1 1 A 10.0.0.1\n".to_owned();
    for service in &services {
        writeln!(records, "_{service}._tcp 1 SRV 0 1 5001 node-1")?;
    }
    server.publish(records).await?;
    let watching = watching(&server, &services).await?;
    let watch = |service: &str| {
        let watching = watching.with_config(json!({ "name": name(service) }));
        watching.watch_as_engine(service)
    };
    idle::measure("DNS", watch).await
}
