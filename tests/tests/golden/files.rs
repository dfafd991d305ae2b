use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use hotswap_core::{Deployment, DeploymentId, Digest};
use rusqlite::Connection;
use serde_json::Value;

/// A golden journal with its state.
pub struct GoldenJournal {
    pub name: String,
    /// Each with the number, the position and the time of an event.
    pub lines: Vec<Value>,
    /// The events as they are stored.
    pub bodies: Vec<Value>,
    /// What the release that wrote the journal folded it to.
    pub state: Value,
}

/// The folder of the golden files.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// Writes a journal as the database has it, one event a line.
pub fn write_journal(
    database: &Connection,
    id: DeploymentId,
    folder_name: &str,
    name: &str,
) -> Result<()> {
    let query = "SELECT seq, position, at, CAST(body AS TEXT) FROM event
        WHERE deployment = (SELECT number FROM deployment WHERE id = ?1) ORDER BY seq";
    let mut statement = database.prepare(query)?;
    let mut rows = statement.query([id.as_bytes()])?;
    let mut lines = String::new();
    while let Some(row) = rows.next()? {
        let (seq, position, at): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let body: String = row.get(3)?;
        lines.push_str(&format!(
            "{{\"seq\":{seq},\"position\":{position},\"at\":{at},\"body\":{body}}}\n"
        ));
    }
    let folder = folder().join(folder_name);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("{name}.jsonl")), lines).context("cannot write a journal")
}

/// Writes the state that a journal folds to.
pub fn write_state(state: &Deployment, folder_name: &str, name: &str) -> Result<()> {
    let json = serde_json::to_string_pretty(state)? + "\n";
    let file = folder()
        .join(folder_name)
        .join(format!("{name}.state.json"));
    fs::write(file, json).context("cannot write a state")
}

/// Writes a component that journals pin.
pub fn write_component(component: &[u8]) -> Result<()> {
    let folder = folder().join("components");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{}.wasm", Digest::of(component).hex()));
    fs::write(file, component).context("cannot write a component")
}

/// Reads the journals in a folder.
pub fn journals(folder_name: &str) -> Result<Vec<GoldenJournal>> {
    let folder = folder().join(folder_name);
    let mut journals = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder_name.to_owned())? {
        let path = entry?.path();
        if path
            .extension()
            .is_none_or(|extension| extension != "jsonl")
        {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let lines = text.lines().map(serde_json::from_str);
        let mut lines: Vec<Value> = lines.collect::<Result<_, _>>()?;
        let bodies = lines.iter_mut().map(|line| line["body"].take()).collect();
        let name = path.file_stem().context("a name")?.to_string_lossy();
        let state = fs::read(path.with_extension("state.json"))?;
        journals.push(GoldenJournal {
            name: name.into_owned(),
            lines,
            bodies,
            state: serde_json::from_slice(&state)?,
        });
    }
    journals.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(journals)
}

/// Reads the component with this digest.
pub fn read_component(digest: Digest) -> Result<Vec<u8>> {
    let file = folder()
        .join("components")
        .join(format!("{}.wasm", digest.hex()));
    fs::read(file).with_context(|| format!("no component {digest}"))
}
