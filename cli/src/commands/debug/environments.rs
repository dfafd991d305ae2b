//! What a bundle has of environments.

use futures_util::{StreamExt as _, stream};

use super::archive::Archive;
use crate::client::Client;

/// Environments that are asked for at the same time.
const CONCURRENCY: usize = 16;

/// Adds the policy of each environment: what counts, and whether the configuration or a person, and
/// who, has set it. The configuration in the bundle has only its own.
///
/// # Errors
/// Only if a file is too large for the format. A policy that cannot be had is noted as missing.
pub async fn add_policies(archive: &mut Archive, client: &Client) -> anyhow::Result<()> {
    let environments = match client.environments().await {
        Ok(environments) => environments,
        Err(error) => return archive.add("policies", Err::<Vec<u8>, _>(error)),
    };
    let names = environments["clusters"].as_array().into_iter().flatten();
    let names = names.filter_map(|cluster| cluster["environment"].as_str());
    let mut policies = stream::iter(names)
        .map(async |name| {
            (
                name,
                client.raw(&format!("/api/v1/environments/{name}")).await,
            )
        })
        .buffered(CONCURRENCY);
    while let Some((name, policy)) = policies.next().await {
        archive.add(&format!("policy-{name}.json"), policy)?;
    }
    Ok(())
}
