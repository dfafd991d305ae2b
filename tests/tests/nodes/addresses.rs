//! Addresses and names that change hands.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use hotswap_core::{
    Action, DeploymentId, Digest, Fence, Health, ModuleVersion, NodeError, NodeId, Order,
};
use hotswap_fleet::registry::Error;
use hotswap_protocol::Registration;
use hotswap_tests::{Cluster, NODE_TOKEN, unreachable_registration};
use serde_json::{Value, json};

use super::PRODUCTION;

async fn status(addr: SocketAddr) -> Result<Value> {
    let client = reqwest::Client::new();
    let request = client.get(format!("http://{addr}/v1/status"));
    Ok(request.bearer_auth(NODE_TOKEN).send().await?.json().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_for_a_dead_node_do_not_reach_the_one_at_its_address() -> Result<()> {
    // Of three, the policy lets one be dead and one change.
    let mut cluster = Cluster::start(&[(PRODUCTION, 3)]).await?;
    cluster.upload_samples().await?;
    let direct = || ("direct", json!({}));
    cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, direct())
        .await?;
    let (dead, heir): (NodeId, NodeId) = ("production-2".parse()?, "staging-1".parse()?);
    let node = cluster.nodes.remove(&dead).context("it runs")?;
    let addr = node.control_addr();
    // It crashes, and says nothing.
    drop(node);
    let mut started = Err(anyhow::anyhow!("not yet"));
    for _ in 0..500 {
        started = cluster
            .start_node_with(heir.clone(), "staging".parse()?, |config| {
                config.control_addr = addr;
            })
            .await;
        if started.is_ok() {
            break;
        }
        // The address is free once the node's tasks have ended.
        tokio::task::yield_now().await;
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    started?;
    cluster.wait_for_nodes().await?;

    let order = Order {
        operation: "1".to_owned(),
        fence: Fence(1 << 40),
        deployment: DeploymentId::from_bytes([7; 16]),
        environment: PRODUCTION.parse()?,
        module: "hello".parse()?,
        action: Action::Stage(ModuleVersion {
            name: "hello".parse()?,
            version: "2.0.0".parse()?,
            digest: Digest::of(hotswap_guests::HELLO_V2),
        }),
    };
    let error = cluster.resources.fleet.order(&dead, &order).await;
    let Err(NodeError::Unreachable(reason)) = error else {
        panic!("{error:?}");
    };
    assert!(reason.contains("staging-1"), "{reason}");
    let deployed = cluster
        .roll_out(("hello", "2.0.0"), PRODUCTION, direct())
        .await?;
    let plan: Vec<_> = deployed.nodes.keys().map(NodeId::as_str).collect();
    assert_eq!(plan, ["production-1", "production-3"]);
    assert_eq!(status(addr).await?["modules"], json!([]));
    let member = cluster.resources.registry.member(&dead);
    assert_ne!(member.map(|member| member.health), Some(Health::Passing));
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_wiped_disk_gets_its_name_back_once_the_old_one_has_stopped() -> Result<()> {
    let mut cluster = Cluster::start(&[(PRODUCTION, 1)]).await?;
    let id: NodeId = "production-1".parse()?;
    let addr = {
        let member = cluster.resources.registry.member(&id);
        member.context("it is known")?.record.control_url.clone()
    };
    // A second node with the same name, on a disk of its own.
    let other = tempfile::tempdir()?;
    let first = cluster.nodes.remove(&id).context("it runs")?;
    cluster
        .start_node_with(id.clone(), PRODUCTION.parse()?, |config| {
            config.data_dir = other.path().to_owned();
        })
        .await?;
    let registered = || {
        let member = cluster.resources.registry.member(&id);
        member.map(|member| (member.record.control_url.clone(), member.health))
    };
    // It is refused, as is anyone who has another data folder.
    let another = Registration {
        instance: Some("another".to_owned()),
        ..unreachable_registration(PRODUCTION)
    };
    let registry = &cluster.resources.registry;
    let refused = registry.register(id.clone(), another).await;
    assert!(matches!(refused, Err(Error::Taken { .. })), "{refused:?}");
    assert_eq!(registered(), Some((addr, Health::Passing)));
    first.shutdown().await;
    let second = format!("http://{}", cluster.nodes[&id].control_addr());
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while registered() != Some((second.clone(), Health::Passing)) {
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "{:?}", registered());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    cluster.shutdown().await;
    Ok(())
}
