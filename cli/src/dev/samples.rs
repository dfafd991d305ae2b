//! The first content of `hotswap dev`: the versions of the sample module, and the first of
//! them on every node.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use hotswap_core::{DeploymentId, ModuleName, Status};
use semver::Version;

use crate::client::{
    Accepted, Client, DeploymentFilter, DeploymentRow, NewDeployment, NodeRow, Page,
};
use crate::watch;

/// The name of the sample module.
pub const MODULE: &str = "hello";

/// How many past deployments are searched for a first one.
const SEARCHED_DEPLOYMENTS: u32 = 100;

/// Uploads the sample module, and deploys its first version to each environment where no
/// version was deployed. What an earlier start left stays as it is.
///
/// # Errors
/// Where the engine rejects a request, or a deployment does not succeed.
pub async fn deploy(client: &Client) -> Result<()> {
    let module: ModuleName = MODULE.parse()?;
    for guest in hotswap_guests::modules() {
        let Some(major) = guest.name.strip_prefix("hello-v") else {
            continue;
        };
        let version = Version::new(major.parse()?, 0, 0);
        client
            .upload_module(&module, &version, guest.component.into())
            .await?;
    }
    let mut started = Vec::new();
    for environment in ["development", "production"] {
        started.extend(start_first_deployment(client, &module, environment).await?);
    }
    for id in started {
        let deployment = watch::wait_until_ended(client, id).await?.deployment;
        let cause = deployment.cause.as_ref();
        let cause = cause.map_or("no reason", |cause| &cause.message);
        ensure!(
            deployment.status() == Status::Succeeded,
            "the first deployment to {} did not succeed: {cause}",
            deployment.header.environment
        );
    }
    Ok(())
}

/// Starts the first deployment to an environment, unless there is one.
async fn start_first_deployment(
    client: &Client,
    module: &ModuleName,
    environment: &str,
) -> Result<Option<DeploymentId>> {
    let filter = DeploymentFilter {
        module: Some(module.clone()),
        environment: Some(environment.parse()?),
        status: None,
    };
    let page = client
        .deployments(&filter, SEARCHED_DEPLOYMENTS, None)
        .await?;
    let page: Page<DeploymentRow> = serde_json::from_value(page)?;
    let counts = |row: &DeploymentRow| match row.status {
        Status::Succeeded | Status::Partial => true,
        status => !status.is_final(),
    };
    if page.items.iter().any(counts) {
        return Ok(None);
    }
    let new = NewDeployment {
        module_name: module.clone(),
        version: Some(Version::new(1, 0, 0)),
        target_environment: environment.parse()?,
        requester_email: "dev@localhost".to_owned(),
        description: Some("the first version, by hotswap dev".to_owned()),
        metadata: BTreeMap::new(),
        require_approval: false,
        selector: None,
        supersede: false,
        strategy: Some("direct".parse()?),
        config: None,
    };
    let accepted: Accepted = serde_json::from_value(client.create_deployment(&new).await?)?;
    Ok(Some(accepted.execution_id))
}

/// The nodes that the engine knows.
///
/// # Errors
/// Where the engine does not answer.
pub async fn list_nodes(client: &Client) -> Result<Vec<NodeRow>> {
    let page: Page<NodeRow> = serde_json::from_value(client.nodes().await?)?;
    Ok(page.items)
}
