//! `hotswap module …`.

use std::path::Path;

use anyhow::Result;
use hotswap_core::{Environment, ModuleName};
use serde_json::{Value, json};

use super::Context;
use crate::args::{ModuleCommand, ModuleRef, ModuleVersionRef};
use crate::client::{self, Module, ModuleVersion, Page};
use crate::exit::Exit;
use crate::exit_report::ExitReport;
use crate::output::{Output, print_message};

mod history;

/// Runs a `module` command.
pub async fn run(command: ModuleCommand, context: &Context) -> Result<Exit> {
    match command {
        ModuleCommand::Upload { module, file } => upload(&module, &file, context).await,
        ModuleCommand::List { module } => list(module.as_ref(), context).await,
        ModuleCommand::Get { module } => get(&module, context).await,
        ModuleCommand::History {
            module,
            environment,
            limit,
        } => history::history(&module, &environment, limit, context).await,
        ModuleCommand::Undo(_) => unreachable!("it waits as a deployment does"),
        ModuleCommand::Retire {
            module,
            environment,
            reason,
        } => retire(&module, &environment, reason.as_deref(), context).await,
    }
}

async fn upload(module: &ModuleVersionRef, file: &Path, context: &Context) -> Result<Exit> {
    let component = client::file_body(file).await?;
    let response = context
        .client
        .upload_module(&module.module, &module.version, component)
        .await?;
    let ModuleVersion {
        name,
        version,
        digest,
        ..
    } = serde_json::from_value(response.clone())?;
    let id = format!("{name}@{version}");
    let next = format!("hotswap deploy {id} -e ENV");
    if context.out.json {
        let report = ExitReport::new(Exit::Success).id(&id).state("uploaded");
        let report = report.response(response).next(next);
        context.out.json(&report.to_json())?;
    } else {
        context.out.line(&format!("{id} {digest}"))?;
        print_message(&format!("roll it out with: {next}"));
    }
    Ok(Exit::Success)
}

async fn list(module: Option<&ModuleName>, context: &Context) -> Result<Exit> {
    let items = match module {
        Some(module) => vec![context.client.module(module).await?],
        None => serde_json::from_value::<Page<Value>>(context.client.modules().await?)?.items,
    };
    if context.out.json {
        context.out.json(&items)?;
        return Ok(Exit::Success);
    }
    let mut versions = Vec::new();
    for item in items {
        versions.extend(serde_json::from_value::<Module>(item)?.versions);
    }
    if versions.is_empty() {
        print_message("no modules; upload one with: hotswap module upload MODULE@VERSION FILE");
    } else {
        print_versions(versions, context.out)?;
    }
    Ok(Exit::Success)
}

async fn get(module: &ModuleRef, context: &Context) -> Result<Exit> {
    let response = match &module.version {
        Some(version) => {
            let client = &context.client;
            client.module_version(&module.module, version).await?
        }
        None => context.client.module(&module.module).await?,
    };
    if context.out.json {
        context.out.json(&response)?;
        return Ok(Exit::Success);
    }
    let versions = match &module.version {
        Some(_) => vec![serde_json::from_value(response)?],
        None => serde_json::from_value::<Module>(response)?.versions,
    };
    print_versions(versions, context.out)?;
    Ok(Exit::Success)
}

async fn retire(
    module: &ModuleName,
    environment: &Environment,
    reason: Option<&str>,
    context: &Context,
) -> Result<Exit> {
    let body = json!({ "reason": reason });
    context.client.retire(module, environment, &body).await?;
    let message = format!("{module} is retired in {environment}; its nodes follow");
    let next = format!("hotswap environment get {environment}");
    if context.out.json {
        let report = ExitReport::new(Exit::Success).id(module).state("retired");
        let report = report.message(message).next(next);
        context.out.json(&report.to_json())?;
    } else {
        context.out.line(&message)?;
        print_message(&format!("see them follow with: {next}"));
    }
    Ok(Exit::Success)
}

fn print_versions(versions: Vec<ModuleVersion>, out: Output) -> Result<()> {
    let row = |version: ModuleVersion| {
        [
            version.name,
            version.version.to_string(),
            size(version.size),
            version.digest,
        ]
    };
    let rows: Vec<_> = versions.into_iter().map(row).collect();
    out.table(["MODULE", "VERSION", "SIZE", "DIGEST"], &rows)
}

/// `12 KiB`.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}
