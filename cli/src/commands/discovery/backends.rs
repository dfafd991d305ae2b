//! The discovery backends that were uploaded.

use std::path::Path;

use anyhow::Result;
use hotswap_core::StrategyName;
use serde_json::Value;

use super::super::Context;
use crate::client::{self, BackendRow, Page};
use crate::exit::Exit;
use crate::exit_report::ExitReport;
use crate::format::sanitize;
use crate::output::print_message;

const BACKENDS: [&str; 4] = ["BACKEND", "VERSION", "DIGEST", "SUMMARY"];

/// Uploads a backend.
pub async fn upload(file: &Path, context: &Context) -> Result<Exit> {
    let component = client::file_body(file).await?;
    let response = context.client.upload_discovery_backend(component).await?;
    let row: BackendRow = serde_json::from_value(response.clone())?;
    let (name, digest) = (sanitize(&row.name), sanitize(&row.digest));
    let next = format!(
        "write backend = \"{name}\" or backend = \"{digest}\" in a source of the configuration, \
         and restart the engine"
    );
    if context.out.json {
        let report = ExitReport::new(Exit::Success).id(&row.name);
        let report = report.state("uploaded").response(response).next(next);
        context.out.json(&report.to_json())?;
        return Ok(Exit::Success);
    }
    let version = sanitize(&row.version);
    context.out.line(&format!("{name} {version} {digest}"))?;
    for secret in &row.secrets {
        print_message(&sanitize(&format!(
            "its secret \"{}\" goes into {}",
            secret.name, secret.place
        )));
    }
    print_message(&format!("to use it: {next}"));
    Ok(Exit::Success)
}

/// Lists the backends.
pub async fn list(context: &Context) -> Result<Exit> {
    let backends = context.client.discovery_backends().await?;
    let page: Page<Value> = serde_json::from_value(backends)?;
    if context.out.json {
        context.out.json(&page.items)?;
        return Ok(Exit::Success);
    }
    let row = |item| -> Result<[String; 4]> {
        let row: BackendRow = serde_json::from_value(item)?;
        Ok([
            sanitize(&row.name),
            sanitize(&row.version),
            sanitize(&row.digest),
            sanitize(&row.summary),
        ])
    };
    let rows = page.items.into_iter().map(row);
    let rows = rows.collect::<Result<Vec<_>>>()?;
    context.out.table(BACKENDS, &rows)?;
    Ok(Exit::Success)
}

/// Deletes a backend.
pub async fn delete(name: &StrategyName, context: &Context) -> Result<Exit> {
    context.client.delete_discovery_backend(name).await?;
    let message = format!("the discovery backend {name} is deleted");
    if context.out.json {
        let report = ExitReport::new(Exit::Success).id(name).state("deleted");
        context.out.json(&report.message(message).to_json())?;
    } else {
        print_message(&message);
    }
    Ok(Exit::Success)
}
