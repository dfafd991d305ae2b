use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hotswap_common::Secret;
use hotswap_core::Health;
use hotswap_fleet::discovery::{Condition, Discovery as _, ErrorKind};
use hotswap_plugins::discovery::{HealthCheck, HttpCheck, Registration};
use hotswap_tests::{RegistryKind, RegistryServer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::fixture::{Fixture, SERVICE, registration};
use crate::suite;

#[tokio::test]
async fn consul_finds_an_instance_with_its_health_until_it_is_gone() -> Result<()> {
    suite::an_instance_is_found_changes_its_health_and_is_gone(
        Fixture::start(RegistryKind::Consul).await?,
    )
    .await
}

/// This Consul keeps nothing over a restart, and its indexes begin anew.
#[tokio::test]
async fn consul_may_be_killed_and_restarted() -> Result<()> {
    let fixture = Fixture::start(RegistryKind::Consul).await?;
    suite::the_view_outlives_the_registry_and_registrations_are_made_again(fixture, false).await
}

#[tokio::test]
async fn a_watch_of_consul_from_before_a_loss_is_answered_with_what_is_there() -> Result<()> {
    let fixture = Fixture::start(RegistryKind::Consul).await?;
    suite::a_watch_from_before_a_loss_is_answered_with_what_is_there(fixture).await
}

#[tokio::test]
async fn a_consul_that_loses_living_nodes_is_not_believed() -> Result<()> {
    suite::a_registry_that_loses_living_nodes_is_not_believed(
        Fixture::start(RegistryKind::Consul).await?,
    )
    .await
}

#[tokio::test]
async fn a_wrong_token_of_consul_is_told_and_never_shown() -> Result<()> {
    let mut fixture = Fixture::start(RegistryKind::ConsulWithAcls).await?;
    let wrong = "0c1d2e3f-0000-4000-8000-000000000000";
    let mut token = |text: &str| {
        let secrets = &mut fixture.settings().secrets;
        secrets.insert("token".to_owned(), Secret::new(text).into());
    };
    token(wrong);
    let watched = fixture.watch(None);
    watched
        .until("it is denied", |source| source.state().last_error.is_some())
        .await?;
    let error = watched.source.state().last_error.expect("it failed");
    assert_eq!(error.kind, ErrorKind::Denied);
    ensure!(!error.message.contains(wrong), "{}", error.message);
    drop(watched);
    let secrets = &mut fixture.settings().secrets;
    secrets.insert(
        "token".to_owned(),
        Secret::new(RegistryServer::TOKEN).into(),
    );
    let watched = fixture.watch(None);
    let kept = fixture.keep("a");
    watched.until_ids(&["a"]).await?;
    kept.stop().await?;
    Ok(())
}

/// The least rights to watch, as the guide has them.
fn rights_of_the_guide() -> Result<&'static str> {
    let guide = include_str!("../../../docs/SERVICE_DISCOVERY_GUIDE.md");
    let (_, block) = guide.split_once("```hcl\n").context("no policy")?;
    let (policy, _) = block.split_once("```").context("no end")?;
    Ok(policy)
}

/// Makes a token with these rights.
async fn token(fixture: &Fixture, name: &str, rights: &str) -> Result<Secret> {
    let server = &fixture.server;
    let policy = json!({ "Name": name, "Rules": rights }).to_string();
    server.request("PUT", "/v1/acl/policy", &policy).await?;
    let token = json!({ "Policies": [{ "Name": name }] }).to_string();
    let made = server.request("PUT", "/v1/acl/token", &token).await?;
    let made: Value = serde_json::from_str(&made)?;
    Ok(Secret::new(made["SecretID"].as_str().context("no token")?))
}

#[tokio::test]
async fn the_rights_of_the_guide_suffice_and_fewer_are_told() -> Result<()> {
    let mut fixture = Fixture::start(RegistryKind::ConsulWithAcls).await?;
    let guide = rights_of_the_guide()?;
    let full = token(&fixture, "guide", guide).await?;
    let writing = guide.replacen("\"read\"", "\"write\"", 1);
    let writing = token(&fixture, "writing", &writing).await?;
    let only_service = guide.lines().next().context("no rights")?;
    let only_service = token(&fixture, "service", only_service).await?;
    let none = token(&fixture, "none", "").await?;
    let set_token = |fixture: &mut Fixture, token: Secret| {
        let secrets = &mut fixture.settings().secrets;
        secrets.insert("token".to_owned(), token.into());
    };
    set_token(&mut fixture, writing);
    let kept = fixture.keep("a");
    set_token(&mut fixture, full);
    fixture.watch(None).until_ids(&["a"]).await?;
    for powerless in [only_service, none] {
        set_token(&mut fixture, powerless);
        let watched = fixture.watch(None);
        watched
            .until("it is denied", |source| source.state().last_error.is_some())
            .await?;
        let error = watched.source.state().last_error.expect("it failed");
        assert_eq!(error.kind, ErrorKind::Denied, "{}", error.message);
        ensure!(error.message.contains("node:read"), "{}", error.message);
    }
    kept.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_thousand_instances_of_consul_are_found() -> Result<()> {
    let fixture = Fixture::start(RegistryKind::Consul).await?;
    for number in 0..1000 {
        let body = json!({
            "Node": format!("host-{number}"), "Address": "10.0.0.1",
            "Service": {
                "ID": format!("node-{number:04}"), "Service": SERVICE, "Port": 5001,
                "Meta": { "port-control": "5001", "environment": "qa" },
            },
        });
        let path = "/v1/catalog/register";
        fixture
            .server
            .request("PUT", path, &body.to_string())
            .await?;
    }
    let watched = fixture.watch(None);
    let all = |source: &hotswap_fleet::discovery::WatchedSource| source.state().instances == 1000;
    let took = watched.until("all are found", all).await?;
    ensure!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(watched.source.state().condition, Condition::Healthy);
    assert_eq!(watched.ids()[999], "node-0999");
    Ok(())
}

/// As after a machine is replaced, or after a node has registered through another agent: the entry
/// before stays for as long as Consul keeps what is critical. Consul sorts them by their machines.
#[tokio::test]
async fn an_instance_that_two_machines_have_in_consul_is_where_it_is_healthy() -> Result<()> {
    let fixture = Fixture::start(RegistryKind::Consul).await?;
    let register = async |machine: &str, address: &str, status: &str| {
        let body = json!({
            "Node": machine, "Address": address,
            "Service": {
                "ID": "node-1", "Service": SERVICE, "Port": 5001,
                "Meta": { "port-control": "5001" },
            },
            "Check": { "CheckID": "service:node-1", "ServiceID": "node-1", "Status": status },
        });
        let server = &fixture.server;
        let path = "/v1/catalog/register";
        server.request("PUT", path, &body.to_string()).await
    };
    register("host-1", "10.0.0.1", "passing").await?;
    register("host-2", "10.0.0.2", "critical").await?;
    let watched = fixture.watch(None);
    watched.until_ids(&["node-1"]).await?;
    for (first, second, url) in [
        ("passing", "critical", "http://10.0.0.1:5001"),
        ("critical", "passing", "http://10.0.0.2:5001"),
        ("passing", "warning", "http://10.0.0.1:5001"),
    ] {
        register("host-1", "10.0.0.1", first).await?;
        register("host-2", "10.0.0.2", second).await?;
        let is_there = |_: &_| {
            let found = watched.get("node-1");
            found.is_some_and(|found| {
                found.control_url.as_deref() == Some(url) && found.health == Health::Passing
            })
        };
        watched.until("it is where it is healthy", is_there).await?;
    }
    let state = watched.source.state();
    assert_eq!((state.instances, state.invalid), (1, 0));
    Ok(())
}

#[tokio::test]
async fn consul_has_an_instance_as_critical_until_it_reports() -> Result<()> {
    let fixture = Fixture::start(RegistryKind::Consul).await?;
    suite::a_registered_instance_is_critical_until_it_reports(fixture).await
}

#[tokio::test]
async fn a_slow_consul_is_waited_for() -> Result<()> {
    suite::a_slow_registry_is_waited_for(Fixture::start(RegistryKind::Consul).await?).await
}

#[tokio::test]
async fn another_agent_of_consul_is_asked_where_one_does_not_answer() -> Result<()> {
    let fixture = Fixture::start(RegistryKind::Consul).await?;
    suite::another_endpoint_is_asked_where_one_does_not_answer(fixture).await
}

#[tokio::test]
async fn a_registration_is_kept_where_agents_of_consul_hang() -> Result<()> {
    let fixture = Fixture::start(RegistryKind::Consul).await?;
    suite::a_registration_is_kept_where_endpoints_hang(fixture).await
}

/// A server that Consul asks whether an instance is well.
async fn healthy_server() -> Result<(std::net::SocketAddr, AbortOnDropHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
    Ok((addr, AbortOnDropHandle::new(task)))
}

#[tokio::test]
async fn consul_asks_an_instance_with_an_http_check_itself() -> Result<()> {
    let fixture = Fixture::start(RegistryKind::Consul).await?;
    let (addr, server) = healthy_server().await?;
    let watched = fixture.watch(None);
    let mut instance = fixture.instance().await?;
    let check = HttpCheck {
        url: format!("http://{addr}/health"),
        interval: 1000,
        timeout: 500,
    };
    let registration = Registration {
        check: Some(HealthCheck::Http(check)),
        ..registration("node-1")
    };
    instance.register(registration).await?;
    watched.until_health("node-1", Health::Passing).await?;
    drop(server);
    watched.until_health("node-1", Health::Critical).await?;
    Ok(())
}
