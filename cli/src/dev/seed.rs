//! What there is at the beginning: the versions of the sample module, and the first one
//! on every node.

use anyhow::{Result, ensure};
use hotswap_core::{DeploymentId, ModuleName, Status};
use semver::Version;

use crate::args::List;
use crate::client::{Accepted, Client, DeploymentRow, NewDeployment, NodeRow, Page};
use crate::watch;

/// The name of the sample module.
pub const MODULE: &str = "hello";

/// Uploads the sample module, and deploys its first version where it never ran. What is
/// there from an earlier start stays as it is.
///
/// # Errors
/// Where the engine refuses, or a first deployment does not succeed.
pub async fn sow(client: &Client) -> Result<()> {
    let module: ModuleName = MODULE.parse()?;
    for guest in hotswap_guests::modules() {
        let Some(major) = guest.name.strip_prefix("hello-v") else {
            continue;
        };
        let version = Version::new(major.parse()?, 0, 0);
        client
            .push_module(&module, &version, guest.component.into())
            .await?;
    }
    let mut begun = Vec::new();
    for environment in ["development", "production"] {
        if let Some(id) = first(client, &module, environment).await? {
            begun.push(id);
        }
    }
    for id in begun {
        let story = watch::end(client, id).await?;
        let cause = story
            .state
            .cause
            .as_ref()
            .map_or("no reason", |cause| &cause.message);
        ensure!(
            story.state.status() == Status::Succeeded,
            "the first deployment to {} did not succeed: {cause}",
            story.state.header.environment
        );
    }
    Ok(())
}

/// Begins the first deployment to an environment, unless there was one.
async fn first(
    client: &Client,
    module: &ModuleName,
    environment: &str,
) -> Result<Option<DeploymentId>> {
    let list = List {
        module: Some(module.clone()),
        environment: Some(environment.parse()?),
        status: None,
        limit: 100,
    };
    let page: Page<DeploymentRow> = serde_json::from_value(client.deployments(&list, None).await?)?;
    let counts = |row: &DeploymentRow| row.status == Status::Succeeded || !row.status.is_final();
    if page.items.iter().any(counts) {
        return Ok(None);
    }
    let new = NewDeployment {
        module_name: module.clone(),
        version: Version::new(1, 0, 0),
        target_environment: environment.parse()?,
        requester_email: "dev@localhost".to_owned(),
        description: Some("the first version, by hotswap dev".to_owned()),
        metadata: std::collections::BTreeMap::new(),
        require_approval: false,
        strategy: Some("direct".parse()?),
        config: None,
    };
    let created = client.deploy(&new).await?;
    Ok(Some(
        serde_json::from_value::<Accepted>(created)?.execution_id,
    ))
}

/// The nodes that the engine knows.
///
/// # Errors
/// Where it cannot be asked.
pub async fn nodes(client: &Client) -> Result<Vec<NodeRow>> {
    let page: Page<NodeRow> = serde_json::from_value(client.nodes().await?)?;
    Ok(page.items)
}
