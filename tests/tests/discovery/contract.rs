//! Every backend keeps the contract, and the suite finds one that does not.

use std::time::Duration;

use anyhow::{Result, ensure};
use hotswap_common::Secret;
use hotswap_plugins::discovery::{
    BackendSettings, ContractCheck, ContractOptions, Outcome, check_contract,
};
use hotswap_tests::{RegistryKind, RegistryServer, shared_discovery_host};

use crate::fixture::{Fixture, SERVICE, Server};

fn options() -> ContractOptions {
    ContractOptions {
        service: SERVICE.to_owned(),
        scratch_service: Some("hotswap-contract-check".to_owned()),
        latency: Duration::from_secs(10),
    }
}

/// What was checked, and not skipped.
async fn check(fixture: &Fixture) -> Result<Vec<ContractCheck>> {
    let (component, settings) = fixture.backend();
    let mut checks = check_contract(component, settings, &options()).await;
    for ContractCheck { rule, outcome } in &checks {
        ensure!(!matches!(outcome, Outcome::Failed(_)), "{rule}: {outcome}");
    }
    checks.retain(|check| check.outcome == Outcome::Passed);
    Ok(checks)
}

#[tokio::test]
async fn consul_keeps_the_contract() -> Result<()> {
    let mut fixture = Fixture::start(RegistryKind::ConsulWithAcls).await?;
    let token = Secret::new(RegistryServer::TOKEN).into();
    fixture.settings().secrets.insert("token".to_owned(), token);
    // Nothing was skipped.
    assert_eq!(check(&fixture).await?.len(), 27);
    Ok(())
}

#[tokio::test]
async fn etcd_keeps_the_contract() -> Result<()> {
    let fixture = Fixture::start(RegistryKind::Etcd).await?;
    // It has no users here, so no secret is wrong.
    assert_eq!(check(&fixture).await?.len(), 26);
    Ok(())
}

#[tokio::test]
async fn etcd_3_5_keeps_the_contract() -> Result<()> {
    let fixture = Fixture::start(RegistryKind::Etcd35).await?;
    assert_eq!(check(&fixture).await?.len(), 26);
    Ok(())
}

#[tokio::test]
async fn kubernetes_keeps_the_contract() -> Result<()> {
    let fixture = Fixture::kubernetes().await?;
    fixture.writer().await?.register("a").await?;
    assert_eq!(check(&fixture).await?.len(), 20);
    Ok(())
}

#[tokio::test]
async fn dns_keeps_the_contract() -> Result<()> {
    let zone = hotswap_tests::NameServer::ZONE;
    let name = format!("_hotswap-node._tcp.{zone}");
    let mut fixture = Fixture::dns(serde_json::json!({ "name": name })).await?;
    if let Server::Dns(server) = &mut fixture.server {
        let records = "_hotswap-node._tcp SRV 0 1 5001 a\na A 10.0.0.1\n";
        server.publish(records.to_owned()).await?;
    }
    // It sends no requests, so no server can misbehave, and it registers nothing.
    assert_eq!(check(&fixture).await?.len(), 7);
    Ok(())
}

#[tokio::test]
async fn a_backend_that_makes_instances_up_is_found_out() -> Result<()> {
    let host = shared_discovery_host()?;
    let component = host.load(hotswap_guests::DISCOVERY_PROBE).await?;
    let settings = BackendSettings {
        origins: vec!["http://127.0.0.1:1".parse()?],
        ..BackendSettings::new("probe")
    };
    let options = ContractOptions {
        service: "count".to_owned(),
        ..options()
    };
    let checks = check_contract(&component, &settings, &options).await;
    let failed = |rule: &str| {
        let mut checks = checks.iter();
        checks.any(|check| check.rule == rule && matches!(check.outcome, Outcome::Failed(_)))
    };
    for rule in [
        "a server that refuses connections is unavailable",
        "status 403 is denied",
        "a watch that waits sees a registered instance in time, whole",
        "a heartbeat for an instance that is not registered is not-found",
    ] {
        ensure!(failed(rule), "{rule}: {checks:?}");
    }
    Ok(())
}
