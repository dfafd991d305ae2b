use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::tools;

/// Reads all documents of a YAML text, but for empty ones.
///
/// # Errors
/// If it is no YAML, or the Python packages of `tests/chart` are not installed.
pub fn read_yaml(text: &str) -> Result<Vec<Value>> {
    const SCRIPT: &str = "import json, sys, yaml\n\
        print(json.dumps([d for d in yaml.safe_load_all(sys.stdin) if d is not None]))";
    let folder = tools::repository_root().join("tests/chart");
    let mut python = tools::python(&folder)?.into_std();
    python.args(["-c", SCRIPT]).stdin(Stdio::piped());
    let mut python = python.stdout(Stdio::piped()).spawn()?;
    let mut input = python.stdin.take().context("a pipe")?;
    let text = text.to_owned();
    // From a thread: it may answer before it has read everything.
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = python.wait_with_output()?;
    writer.join().expect("the thread does not panic")?;
    ensure!(output.status.success(), "this is no YAML");
    Ok(serde_json::from_slice(&output.stdout)?)
}
