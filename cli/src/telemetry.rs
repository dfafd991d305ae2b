//! Sends the spans of this process to a collector of OpenTelemetry. The only place of the program
//! that knows OpenTelemetry: everything else uses [`hotswap_common::trace`].

mod batch;
mod exporter;
mod resource;
mod settings;

use std::time::Duration;

use anyhow::Result;
use hotswap_common::trace;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::config::Telemetry;
use crate::environment_variables::read_variable;

pub use resource::Service;
use settings::Settings;
pub use settings::VARIABLES;

/// How long the last spans may delay the end of the process.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Exports spans until it is shut down.
pub struct Exporting {
    shutdown: CancellationToken,
    task: AbortOnDropHandle<()>,
}

/// Begins to record and to export spans, where a collector is named: by `flags`, by the
/// environment variables of OpenTelemetry, or by `config`. Needs a runtime.
///
/// # Errors
/// Where a setting is not valid, or the exporter cannot be created. No error if the collector
/// does not answer: that costs spans, and nothing else.
pub fn start(
    service: &Service,
    flags: &Telemetry,
    config: &Telemetry,
) -> Result<Option<Exporting>> {
    let Some(settings) = Settings::resolve(flags, config, read_variable)? else {
        return Ok(None);
    };
    let exporter = exporter::build(&settings, resource::resource(service, read_variable))?;
    let Some(spans) = trace::install(settings.sampler, settings.queue_size) else {
        return Ok(None);
    };
    let (endpoint, protocol) = (&settings.endpoint, settings.protocol);
    tracing::info!(endpoint, ?protocol, "recording traces");
    let shutdown = CancellationToken::new();
    let export = batch::export(spans, exporter, settings, shutdown.clone());
    Ok(Some(Exporting {
        shutdown,
        task: AbortOnDropHandle::new(tokio::spawn(export)),
    }))
}

impl Exporting {
    /// Sends what waits, for a limited time.
    pub async fn shutdown(self) {
        self.shutdown.cancel();
        if tokio::time::timeout(FLUSH_TIMEOUT, self.task)
            .await
            .is_err()
        {
            tracing::warn!("the collector has not taken the last spans in time");
        }
    }
}

/// Ends what [`start`] began.
pub async fn shutdown(exporting: Option<Exporting>) {
    if let Some(exporting) = exporting {
        exporting.shutdown().await;
    }
}
