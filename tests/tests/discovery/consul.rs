use std::time::Duration;

use anyhow::{Result, ensure};
use hotswap_common::Secret;
use hotswap_fleet::discovery::{Condition, Discovery as _, ErrorKind};
use hotswap_tests::{RegistryKind, RegistryServer};
use serde_json::json;

use crate::fixture::{Fixture, SERVICE};
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
    suite::the_view_outlives_the_registry_and_registrations_are_made_again(fixture).await
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
