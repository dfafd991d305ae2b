//! `module push` and `module list`.

use anyhow::Result;
use serde_json::Value;

use super::Context;
use crate::args::ModuleCommand;
use crate::client::{self, ModuleRow, ModuleRows, Page};
use crate::exit::Exit;
use crate::output::say;

/// Does what a `module` command asks.
pub async fn run(command: ModuleCommand, context: &Context) -> Result<Exit> {
    let (client, out) = (&context.client, context.out);
    match command {
        ModuleCommand::Push { release, file } => {
            let component = client::file(&file).await?;
            let pushed = client
                .push_module(&release.module, &release.version, component)
                .await?;
            if out.json {
                out.value(&pushed)?;
            } else {
                let row: ModuleRow = serde_json::from_value(pushed)?;
                out.line(&format!("{}@{} {}", row.name, row.version, row.digest))?;
                say(&format!(
                    "roll it out with: hotswap deploy {}@{} -e ENVIRONMENT",
                    row.name, row.version
                ));
            }
        }
        ModuleCommand::List { module } => {
            let items = match &module {
                Some(module) => vec![client.module(module).await?],
                None => serde_json::from_value::<Page<Value>>(client.modules().await?)?.items,
            };
            if out.json {
                out.value(&items)?;
                return Ok(Exit::Success);
            }
            let mut rows = Vec::new();
            for item in items {
                let module: ModuleRows = serde_json::from_value(item)?;
                rows.extend(module.versions.into_iter().map(|row| {
                    [
                        row.name,
                        row.version.to_string(),
                        size(row.size),
                        row.digest,
                    ]
                }));
            }
            if rows.is_empty() {
                say("no modules; upload one with: hotswap module push NAME@VERSION FILE");
            } else {
                out.table(["MODULE", "VERSION", "SIZE", "DIGEST"], &rows)?;
            }
        }
    }
    Ok(Exit::Success)
}

/// `12 KiB`.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}
