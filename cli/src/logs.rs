//! The log, on standard error.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context as _, Result};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::args::LogFormat;

/// Begins to log what `RUST_LOG` asks for, or what matters to operators.
///
/// # Errors
/// Where the log has been begun already.
pub fn begin(format: LogFormat, default: &str) -> Result<()> {
    begin_with(format, default, BoxMakeWriter::new(std::io::stderr))
}

/// The same, at the end of a file.
///
/// # Errors
/// Where the file cannot be written, too.
pub fn begin_in(file: &Path, format: LogFormat, default: &str) -> Result<()> {
    let out = OpenOptions::new().create(true).append(true).open(file);
    let out = out.with_context(|| format!("cannot write {}", file.display()))?;
    begin_with(format, default, BoxMakeWriter::new(Mutex::new(out)))
}

fn begin_with(format: LogFormat, default: &str, out: BoxMakeWriter) -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(out);
    let begun = match format {
        LogFormat::Text => log.with_ansi(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    begun.map_err(|error| anyhow::anyhow!("cannot begin the log: {error}"))
}
