//! What nodes ask for. A node whose connection breaks repeats its request, and the engine knows
//! of it what it would know without the break.

use anyhow::{Context, Result, ensure};
use hotswap_core::{Digest, Health, NodeId};
use hotswap_protocol::{Heartbeat, NodeHealth, Registration};
use hotswap_tests::{Cluster, unreachable_registration};
use serde_json::{Value, json};

use crate::PRODUCTION;
use crate::client::{Client, Request};

const NODE: &str = "edge-1";
/// How many points of an answer a node leaves at.
const POINTS: usize = 20;

/// A machine named [`NODE`] that sends what a node sends. It takes no orders, so it is in an
/// environment without deployments.
struct Machine<'a> {
    client: &'a Client,
    instance: &'static str,
}

impl Machine<'_> {
    fn registration(&self, environment: &str) -> Result<Request> {
        let registration = Registration {
            boot: Some(format!("boot-of-{}", self.instance)),
            instance: Some(self.instance.to_owned()),
            modules: Some(Vec::new()),
            ..unreachable_registration(environment)
        };
        let body = serde_json::to_value(registration)?;
        let path = format!("/api/v1/nodes/{NODE}");
        Ok(self.client.json("PUT", &path, &body))
    }

    fn heartbeat(&self, health: NodeHealth, reason: Option<&str>) -> Result<Request> {
        let heartbeat = Heartbeat {
            health,
            reason: reason.map(str::to_owned),
            highest_fence: 0,
            boot: Some(format!("boot-of-{}", self.instance)),
            control_url: None,
            data_url: None,
            modules: None,
            readiness: None,
            traffic: None,
        };
        let body = serde_json::to_value(heartbeat)?;
        let path = format!("/api/v1/nodes/{NODE}/heartbeat");
        Ok(self.client.json("POST", &path, &body))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_may_leave_at_each_point_of_each_report() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    let (client, registry) = (Client::node(&cluster), &cluster.resources.registry);
    let machine = |instance| Machine {
        client: &client,
        instance,
    };
    let id: NodeId = NODE.parse()?;
    let member = || registry.member(&id).context("the node is not registered");

    let first = machine("first");
    client.ask(&first.registration("qa")?, &[200]).await?;
    ensure!(member()?.record.environment.as_str() == "qa");
    // It moves, as often as its connection breaks.
    client.ask(&first.registration("staging")?, &[200]).await?;
    ensure!(member()?.record.environment.as_str() == "staging");
    ensure!(registry.members().len() == 1, "{:?}", registry.members());

    let warning = first.heartbeat(NodeHealth::Warning, Some("the disk is slow"))?;
    client.ask(&warning, &[200]).await?;
    let health = member()?.health;
    ensure!(health == Health::Warning, "{health:?}");
    let passing = first.heartbeat(NodeHealth::Passing, None)?;
    client.ask(&passing, &[200]).await?;
    let health = member()?.health;
    ensure!(health == Health::Passing, "{health:?}");

    // Its id belongs to it while it reports in, and is free once it has said that it stops.
    let second = machine("second");
    let taking = second.registration("staging")?;
    client.send(&taking).await?.expect(&[409])?;
    let stop = first.heartbeat(NodeHealth::Stopping, None)?;
    client.ask(&stop, &[200]).await?;
    client.ask(&taking, &[200]).await?;
    let instance = member()?.record.instance.clone();
    ensure!(instance.as_deref() == Some("second"), "{instance:?}");
    // What the first one sent does not count any more.
    client.send(&passing).await?.expect(&[404, 409])?;

    let person = Client::admin(&cluster);
    let path = format!("/api/v1/nodes/{NODE}");
    let forget = person.json("DELETE", &path, &json!({ "reason": "a test" }));
    // 404: one of those who left has done it.
    person.ask(&forget, &[204, 404]).await?;
    ensure!(registry.member(&id).is_none(), "the node stays");
    client.ask(&taking, &[200]).await?;
    member()?;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_may_leave_at_each_point_of_an_artifact() -> Result<()> {
    let cluster = Cluster::start(&[(PRODUCTION, 1)]).await?;
    cluster.upload_samples().await?;
    let client = Client::node(&cluster);
    let artifact = hotswap_guests::HELLO_V1;
    let path = format!("/api/v1/artifacts/{}", Digest::of(artifact));
    let fetch = client.json("GET", &path, &Value::Null);
    client.leave_everywhere(&fetch).await?;
    for point in 0..=POINTS {
        let bytes = artifact.len() * point / POINTS;
        client.leave_in_answer(&fetch, bytes).await?;
    }
    let answer = client.ask(&fetch, &[200]).await?;
    ensure!(answer.body == artifact, "{} bytes", answer.body.len());
    let strategy = ("direct", json!({}));
    cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, strategy)
        .await?;
    cluster.shutdown().await;
    Ok(())
}
