//! `hotswap store export` and `hotswap store import`.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use hotswap_common::file;
use hotswap_store::transfer::{self, Archive, Summary};

use super::Context;
use crate::args::Serve;
use crate::config::Config;
use crate::engine_store::EngineStore;
use crate::environment_variables::read_variable;
use crate::exit::Exit;
use crate::output::print_message;

/// Standard input or output in place of a file.
const STREAM: &str = "-";

/// Writes everything that the store of a configuration holds to a file.
pub async fn export(file: &Path, config: Option<PathBuf>, context: &Context) -> Result<Exit> {
    let config = read_config(config)?;
    let is_stream = file.as_os_str() == STREAM;
    ensure!(
        is_stream || !file.exists(),
        "{} exists; name a file that does not",
        file.display()
    );
    let database = config.data_dir.join("engine.db");
    ensure!(
        config.store.url.is_some() || database.exists(),
        "there is no store: {} does not exist; name the engine's configuration with --config",
        database.display()
    );
    let store = EngineStore::open(&config).await?;
    let exported = match is_stream {
        true => write(&store, io::BufWriter::new(io::stdout())).await,
        false => write_file(&store, file).await,
    };
    store.close().await;
    let summary = exported.context("cannot export the store")?;
    // Standard output has the archive.
    report("exported", &summary, context, !is_stream)?;
    Ok(Exit::Success)
}

async fn write_file(store: &EngineStore, path: &Path) -> Result<Summary> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let temporary =
        file::temporary(folder).with_context(|| format!("cannot write to {}", folder.display()))?;
    let summary = write(store, io::BufWriter::new(temporary.as_file())).await?;
    file::persist(temporary, path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(summary)
}

async fn write(store: &EngineStore, out: impl io::Write + Send) -> Result<Summary> {
    // This process is no engine: it does not count as one that uses the store.
    if let Some(session) = store.journal.session() {
        session.end().await?;
    }
    let contents = store.contents();
    Ok(transfer::export(contents.as_ref(), &store.blobs, out).await?)
}

/// Writes what a file holds into the empty store of a configuration.
pub async fn import(file: &Path, config: Option<PathBuf>, context: &Context) -> Result<Exit> {
    let config = read_config(config)?;
    let summary = match file.as_os_str() == STREAM {
        false => import_file(file, &config).await,
        true => {
            // It is read twice: once before anything is written.
            let mut copy = file::temporary(&config.data_dir)?;
            io::copy(&mut io::stdin().lock(), &mut copy).context("cannot read standard input")?;
            import_file(copy.path(), &config).await
        }
    };
    let summary = summary.context("cannot import the store")?;
    report("imported", &summary, context, true)?;
    Ok(Exit::Success)
}

async fn import_file(file: &Path, config: &Config) -> Result<Summary> {
    let archive = Archive::open(file).with_context(|| file.display().to_string())?;
    EngineStore::import(config, &archive).await?;
    Ok(archive.summary().clone())
}

fn read_config(file: Option<PathBuf>) -> Result<Config> {
    let serve = Serve {
        config: file,
        ..Serve::default()
    };
    let config = Config::read(&serve, read_variable)?;
    // On a machine where no engine ran yet there is none. The lock of an engine is in it.
    let folder = &config.data_dir;
    file::create_private_folder(folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(config)
}

fn report(what: &str, summary: &Summary, context: &Context, is_free: bool) -> Result<()> {
    if context.out.json && is_free {
        return context.out.json(summary);
    }
    print_message(&format!(
        "{what} {} deployments with {} events, and {} artifacts and components; {}",
        summary.deployments, summary.events, summary.artifacts, summary.digest
    ));
    Ok(())
}
