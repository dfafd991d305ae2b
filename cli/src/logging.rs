//! Sets up the log.

mod trace_ids;

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::{LazyLock, Mutex};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use hotswap_common::RecentLog;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt as _};

use trace_ids::TraceIds;

/// The log filter if `RUST_LOG` is not set.
const DEFAULT_FILTER: &str = "info";

/// One for the process, as the log is.
static RECENT: LazyLock<RecentLog> = LazyLock::new(RecentLog::default);

/// The end of the log, in memory, since [`init`] or [`init_to_file`].
pub fn recent() -> RecentLog {
    RECENT.clone()
}

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text, for people
    Text,
    /// A JSON object a line
    Json,
}

/// Logs to standard error what `RUST_LOG` selects, or `info` and above.
///
/// # Errors
/// Where the log is set up already.
pub fn init(format: LogFormat) -> Result<()> {
    init_with(format, BoxMakeWriter::new(std::io::stderr))
}

/// The same, appended to a file.
///
/// # Errors
/// Also where the file cannot be opened.
pub fn init_to_file(file: &Path, format: LogFormat) -> Result<()> {
    let out = OpenOptions::new().create(true).append(true).open(file);
    let out = out.with_context(|| format!("cannot write {}", file.display()))?;
    init_with(format, BoxMakeWriter::new(Mutex::new(out)))
}

fn init_with(format: LogFormat, out: BoxMakeWriter) -> Result<()> {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It reports with `eprintln!`, which panics where standard error is what has failed: a full
        // disk or a closed pipe would end whatever logs.
        .log_internal_errors(false)
        .with_writer(out.and(recent));
    let result = match format {
        LogFormat::Text => {
            let is_json = false;
            let log = log.with_ansi(false);
            log.map_event_format(|format| TraceIds { format, is_json })
                .try_init()
        }
        LogFormat::Json => {
            let is_json = true;
            let log = log.json().flatten_event(true);
            log.map_event_format(|format| TraceIds { format, is_json })
                .try_init()
        }
    };
    result.map_err(|error| anyhow::anyhow!("cannot set up the log: {error}"))
}
