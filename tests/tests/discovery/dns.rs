//! DNS, asked at a real name server. It says nothing of health, and nobody registers through it: who
//! owns the zone does.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hotswap_core::Health;
use hotswap_fleet::discovery::{Condition, Discovery as _, ErrorKind};
use hotswap_plugins::discovery::DnsOptions;
use hotswap_tests::NameServer;
use serde_json::json;
use tokio::net::UdpSocket;

use crate::fixture::{Fixture, Server, Watched};
use crate::slow_name_server::{Damage, SlowNameServer};
use crate::suite::AllAlive;

/// How often the component asks. What it asks for is kept for the time to live, of a second.
const INTERVAL: Duration = Duration::from_secs(1);

/// How late each answer of a slow name server comes.
const DELAY: Duration = Duration::from_millis(700);

/// How soon a change must be seen that is published with a time to live of a second.
const LATENCY: Duration = Duration::from_secs(4);

/// SRV records, with the address of each target.
fn srv(ttl: u32, nodes: &[(&str, u16)]) -> String {
    let mut zone = String::new();
    for (number, (id, port)) in nodes.iter().enumerate() {
        let (high, low) = (number / 250, number % 250 + 1);
        let _ = writeln!(
            zone,
            "_hotswap-node._tcp {ttl} SRV 0 1 {port} {id}\n{id} {ttl} A 10.0.{high}.{low}"
        );
    }
    zone
}

fn by_srv() -> serde_json::Value {
    json!({
        "name": format!("_hotswap-node._tcp.{}", NameServer::ZONE), "interval": "1s",
        "metadata": { "environment": "production" }, "ports": { "data": 8080 },
    })
}

async fn publish(fixture: &mut Fixture, records: String) -> Result<()> {
    let Server::Dns(server) = &mut fixture.server else {
        anyhow::bail!("another registry")
    };
    server.publish(records).await
}

async fn until_healthy(watched: &Watched) -> Result<()> {
    let is_healthy = |source: &hotswap_fleet::discovery::WatchedSource| {
        source.state().condition == Condition::Healthy
    };
    watched.until("it is healthy", is_healthy).await.map(drop)
}

#[tokio::test]
async fn dns_finds_what_srv_records_name_and_sees_each_change_of_the_zone() -> Result<()> {
    let mut fixture = Fixture::dns(by_srv()).await?;
    let watched = fixture.watch(None);
    // A name without records is an answer.
    until_healthy(&watched).await?;
    assert!(watched.ids().is_empty());
    publish(
        &mut fixture,
        srv(1, &[("a", 5001), ("b", 5002), ("c", 5003)]),
    )
    .await?;
    watched.until_ids(&["a", "b", "c"]).await?;
    let found = watched.get("b").context("it was found")?;
    assert_eq!(found.control_url.as_deref(), Some("http://10.0.0.2:5002"));
    assert_eq!(found.data_url.as_deref(), Some("http://10.0.0.2:8080"));
    assert_eq!(found.environment, Some("production".parse()?));
    assert_eq!(found.health, Health::Unknown);
    publish(
        &mut fixture,
        srv(1, &[("a", 5001), ("b", 6000), ("c", 5003)]),
    )
    .await?;
    let has_moved = |_: &_| {
        let found = watched.get("b");
        found.is_some_and(|found| found.control_url.as_deref() == Some("http://10.0.0.2:6000"))
    };
    let latency = watched.until("its port has changed", has_moved).await?;
    ensure!(latency < LATENCY, "a change was seen after {latency:?}");
    publish(&mut fixture, srv(1, &[("b", 6000), ("c", 5003)])).await?;
    let latency = watched.until_ids(&["b", "c"]).await?;
    ensure!(latency < LATENCY, "a removal was seen after {latency:?}");
    Ok(())
}

#[tokio::test]
async fn dns_finds_the_addresses_of_both_families_of_a_name() -> Result<()> {
    let config = json!({
        "name": format!("nodes.{}", NameServer::ZONE), "records": "addresses", "interval": "1s",
        "port": 5001,
    });
    let mut fixture = Fixture::dns(config).await?;
    let records = "nodes 1 A 10.0.0.1\nnodes 1 A 10.0.0.2\nnodes 1 AAAA fd00::7\n";
    publish(&mut fixture, records.to_owned()).await?;
    let watched = fixture.watch(None);
    watched
        .until_ids(&["10.0.0.1", "10.0.0.2", "fd00--7"])
        .await?;
    let found = watched.get("fd00--7").context("it was found")?;
    assert_eq!(found.control_url.as_deref(), Some("http://[fd00::7]:5001"));
    publish(
        &mut fixture,
        "nodes 1 A 10.0.0.2\nnodes 1 A 10.0.0.3\n".to_owned(),
    )
    .await?;
    watched.until_ids(&["10.0.0.2", "10.0.0.3"]).await?;
    Ok(())
}

#[tokio::test]
async fn dns_believes_an_answer_for_its_time_to_live() -> Result<()> {
    let mut fixture = Fixture::dns(by_srv()).await?;
    publish(&mut fixture, srv(4, &[("a", 5001), ("b", 5002)])).await?;
    let watched = fixture.watch(None);
    watched.until_ids(&["a", "b"]).await?;
    publish(
        &mut fixture,
        srv(4, &[("a", 5001), ("b", 5002), ("c", 5003)]),
    )
    .await?;
    let took = watched.until_ids(&["a", "b", "c"]).await?;
    // What was asked before is a part of a second old.
    ensure!(
        took > Duration::from_secs(2),
        "it asked again after {took:?}"
    );
    ensure!(
        took < Duration::from_secs(4) + INTERVAL + LATENCY,
        "{took:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_name_server_may_be_killed_talk_nonsense_and_come_back() -> Result<()> {
    let mut fixture = Fixture::dns(by_srv()).await?;
    publish(&mut fixture, srv(1, &[("a", 5001), ("b", 5002)])).await?;
    let watched = fixture.watch(None);
    watched.until_ids(&["a", "b"]).await?;
    fixture.server.kill().await?;
    let is_stale = |source: &hotswap_fleet::discovery::WatchedSource| {
        source.state().condition == Condition::Stale
    };
    watched.until("it is stale", is_stale).await?;
    assert_eq!(watched.ids(), ["a", "b"]);
    let error = watched.source.state().last_error.context("it failed")?;
    assert_eq!(error.kind, ErrorKind::Unavailable, "{}", error.message);
    // Whatever answers there now, with the right id and nothing else that makes sense.
    let socket = UdpSocket::bind(fixture.server.url()).await?;
    let mut answered = 0;
    let mut question = [0; 512];
    while answered < 5 {
        let (length, from) = socket.recv_from(&mut question).await?;
        let garbage = [&question[..2.min(length)], &[0xff; 40]].concat();
        socket.send_to(&garbage, from).await?;
        answered += 1;
    }
    drop(socket);
    assert_eq!(watched.ids(), ["a", "b"]);
    ensure!(is_stale(&watched.source), "{:?}", watched.source.state());
    fixture.server.restart().await?;
    until_healthy(&watched).await?;
    publish(
        &mut fixture,
        srv(1, &[("a", 5001), ("b", 5002), ("c", 5003)]),
    )
    .await?;
    watched.until_ids(&["a", "b", "c"]).await?;
    Ok(())
}

/// It answers all the time, and is healthy before each kind of nonsense: what it says is not taken for
/// an answer without records, nor for none at all.
#[tokio::test]
async fn answers_of_a_name_server_that_make_no_sense_are_not_believed() -> Result<()> {
    let mut fixture = Fixture::dns(by_srv()).await?;
    let server = fixture.server.url().parse()?;
    let damaging = SlowNameServer::start(server, Duration::ZERO).await?;
    fixture.ask_name_server(damaging.addr, Duration::from_millis(500));
    publish(&mut fixture, srv(1, &[("a", 5001), ("b", 5002)])).await?;
    let watched = fixture.watch(None);
    watched.until_ids(&["a", "b"]).await?;
    let is_stale = |source: &hotswap_fleet::discovery::WatchedSource| {
        source.state().condition == Condition::Stale
    };
    for damage in [Damage::Garbage, Damage::CutOff, Damage::TooLong] {
        until_healthy(&watched).await?;
        damaging.set_damage(Some(damage));
        watched.until("it is stale", is_stale).await?;
        assert_eq!(watched.ids(), ["a", "b"], "{damage:?}");
        let error = watched.source.state().last_error.context("it failed")?;
        assert_eq!(error.kind, ErrorKind::Unavailable, "{}", error.message);
        damaging.set_damage(None);
    }
    until_healthy(&watched).await?;
    publish(&mut fixture, srv(1, &[("b", 5002)])).await?;
    watched.until_ids(&["b"]).await?;
    Ok(())
}

/// A look-up asks for the records of the name, and then for the addresses of the targets.
#[tokio::test]
async fn a_slow_name_server_is_waited_for_and_one_that_is_too_slow_is_unavailable() -> Result<()> {
    let mut fixture = Fixture::dns(by_srv()).await?;
    let slow = SlowNameServer::start(fixture.server.url().parse()?, DELAY).await?;
    fixture.ask_name_server(slow.addr, DnsOptions::default().timeout);
    publish(&mut fixture, srv(1, &[("a", 5001), ("b", 5002)])).await?;
    let watched = fixture.watch(None);
    let took = watched.until_ids(&["a", "b"]).await?;
    ensure!(took > DELAY, "it was found after {took:?}");
    let three = srv(1, &[("a", 5001), ("b", 5002), ("c", 5003)]);
    publish(&mut fixture, three).await?;
    let took = watched.until_ids(&["a", "b", "c"]).await?;
    ensure!(
        took < LATENCY + 8 * DELAY,
        "a change was seen after {took:?}"
    );
    let state = watched.source.state();
    assert_eq!(
        (state.condition, state.last_error),
        (Condition::Healthy, None)
    );
    slow.set_delay(Duration::from_secs(3600));
    let is_stale = |source: &hotswap_fleet::discovery::WatchedSource| {
        source.state().condition == Condition::Stale
    };
    watched.until("it is too slow", is_stale).await?;
    assert_eq!(watched.ids(), ["a", "b", "c"]);
    let error = watched.source.state().last_error.context("it failed")?;
    assert_eq!(error.kind, ErrorKind::Unavailable);
    ensure!(error.message.contains("in time"), "{}", error.message);
    slow.set_delay(DELAY);
    until_healthy(&watched).await?;
    assert_eq!(watched.ids(), ["a", "b", "c"]);
    Ok(())
}

#[tokio::test]
async fn a_zone_that_loses_living_nodes_is_not_believed() -> Result<()> {
    let mut fixture = Fixture::dns(by_srv()).await?;
    let nodes = [("a", 5001), ("b", 5002), ("c", 5003)];
    publish(&mut fixture, srv(1, &nodes)).await?;
    let watched = fixture.watch(Some(Arc::new(AllAlive)));
    watched.until_ids(&["a", "b", "c"]).await?;
    publish(&mut fixture, String::new()).await?;
    let is_held = |source: &hotswap_fleet::discovery::WatchedSource| {
        let state = source.state();
        state.condition == Condition::Held && state.held.is_some_and(|held| held.alive.is_some())
    };
    watched.until("it is held", is_held).await?;
    let held = watched.source.state().held.context("it is held")?;
    assert_eq!((held.lost, held.alive), (3, Some(3)));
    assert_eq!(watched.ids(), ["a", "b", "c"]);
    publish(&mut fixture, srv(1, &nodes)).await?;
    until_healthy(&watched).await
}

/// So many do not fit into an answer over UDP.
#[tokio::test]
async fn a_thousand_instances_of_dns_are_found() -> Result<()> {
    let mut fixture = Fixture::dns(by_srv()).await?;
    let ids: Vec<_> = (0..1000).map(|number| format!("n{number}")).collect();
    let nodes: Vec<_> = ids.iter().map(|id| (id.as_str(), 5001)).collect();
    publish(&mut fixture, srv(60, &nodes)).await?;
    let watched = fixture.watch(None);
    let all = |source: &hotswap_fleet::discovery::WatchedSource| source.state().instances == 1000;
    let took = watched.until("all are found", all).await?;
    ensure!(took < Duration::from_secs(20), "{took:?}");
    Ok(())
}
