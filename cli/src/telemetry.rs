//! Sends the spans and the metrics of this process to a collector of OpenTelemetry. The only place
//! of the program that knows OpenTelemetry: everything else uses [`hotswap_common::trace`], and
//! shows its metrics as text.

mod batch;
mod connection;
mod failures;
mod metrics;
mod resource;
mod sender;
mod settings;
mod spans;
mod trust;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use hotswap_common::tls::{ClientFiles, follow};
use hotswap_common::trace::{self, SpanQueue};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::config::Telemetry;
use crate::environment_variables::read_variable;

pub use resource::Service;
use sender::Sender;
pub use settings::VARIABLES;
use settings::{Settings, TraceSettings, is_disabled, unsupported};
use trust::Trust;

/// How long the last spans and metrics may delay the end of the process.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads all metrics of a server, in the text format of OpenMetrics.
pub type ReadMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// Exports until it is shut down.
pub struct Exporting {
    shutdown: CancellationToken,
    tasks: Vec<AbortOnDropHandle<()>>,
    /// Taken once there are metrics to read.
    metrics: Option<metrics::Exporter>,
    /// Reads certificates again when they change.
    _files: AbortOnDropHandle<()>,
}

/// Begins to record and to export spans, where a collector is named: by `flags`, by the
/// environment variables of OpenTelemetry, or by `config`. Metrics follow with
/// [`Exporting::export_metrics`]. `tls` says whom the program trusts. Needs a runtime.
///
/// # Errors
/// Where a setting is not valid, or an exporter cannot be created. No error if the collector
/// does not answer: that costs what it does not take, and nothing else.
pub fn start(
    service: &Service,
    (flags, config): (&Telemetry, &Telemetry),
    tls: &ClientFiles,
) -> Result<Option<Exporting>> {
    warn_of_unsupported_variables();
    let settings = Settings::resolve(flags, config, read_variable)?;
    if settings == Settings::default() {
        return Ok(None);
    }
    let resource = resource::resource(service, read_variable);
    let shutdown = CancellationToken::new();
    let mut trust = Trust::new(tls);
    let spans = settings.traces.map(|settings| {
        let tls = trust.tls_to(&settings.collector)?;
        let sender = Sender::new(&settings.collector, &settings.headers, &tls)?;
        Ok::<_, anyhow::Error>((sender, settings))
    });
    let spans = spans.transpose()?;
    let metrics = settings.metrics.map(|settings| {
        let tls = trust.tls_to(&settings.collector)?;
        metrics::Exporter::new(settings, &tls, &resource)
    });
    let metrics = metrics.transpose()?;
    let files = follow(trust.reloadable(), Arc::new(Notify::new()));
    let mut exporting = Exporting {
        shutdown: shutdown.clone(),
        tasks: Vec::new(),
        metrics,
        _files: AbortOnDropHandle::new(tokio::spawn(files)),
    };
    if let Some((sender, settings)) = spans
        && let Some(queue) = install(&settings)
    {
        let (endpoint, protocol) = (&settings.collector.endpoint, settings.collector.protocol);
        tracing::info!(endpoint, ?protocol, "recording traces");
        let sender = (sender, resource::message(&resource));
        exporting.spawn(batch::export(queue, sender, settings, shutdown));
    }
    Ok(Some(exporting))
}

fn install(settings: &TraceSettings) -> Option<SpanQueue> {
    trace::install(settings.sampler, settings.queue_size, settings.batch_size)
}

/// Logs the names of variables that somebody has set in vain; their values may be secrets.
fn warn_of_unsupported_variables() {
    if is_disabled(&read_variable) {
        return;
    }
    let text = |text: OsString| text.to_string_lossy().into_owned();
    let all = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
    let variables = unsupported(all);
    if !variables.is_empty() {
        tracing::warn!(
            ?variables,
            "these variables of OpenTelemetry have no effect here"
        );
    }
}

impl Exporting {
    /// Sends what `read` returns at an interval from now on, where a collector is named for
    /// metrics.
    pub fn export_metrics(&mut self, read: ReadMetrics) {
        if let Some(exporter) = self.metrics.take() {
            let shutdown = self.shutdown.clone();
            self.spawn(async move { exporter.run(read, shutdown).await });
        }
    }

    fn spawn(&mut self, export: impl Future<Output = ()> + Send + 'static) {
        self.tasks
            .push(AbortOnDropHandle::new(tokio::spawn(export)));
    }

    /// Sends what waits, for a limited time.
    pub async fn shutdown(self) {
        self.shutdown.cancel();
        let ended = futures_util::future::join_all(self.tasks);
        if tokio::time::timeout(FLUSH_TIMEOUT, ended).await.is_err() {
            tracing::warn!("the collector has not taken the last spans and metrics in time");
        }
    }
}

/// Ends what [`start`] began.
pub async fn shutdown(exporting: Option<Exporting>) {
    if let Some(exporting) = exporting {
        exporting.shutdown().await;
    }
}
