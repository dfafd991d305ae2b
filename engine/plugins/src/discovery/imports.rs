//! What a backend may call.

use std::io::{Error as IoError, ErrorKind};
use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, error, info, warn};
use wasmtime::component::{HasData, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksCtxView};
use wasmtime_wasi::p2::bindings::{clocks, io};

use super::bindings::hotswap::discovery::{clock, dns, log, types};
use super::resolver::SrvRecord;
use super::state::BackendState;

/// Bytes of a line for the log, as the contract says.
const LOG_LINE_BYTES: usize = 8 << 10;

/// Longest sleep. A call ends before it.
const MAX_SLEEP: Duration = Duration::from_secs(3600);

/// `wasi:io` needs only the table of resources.
struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

/// Links what the contract allows, and nothing else.
pub(super) fn add_to_linker(linker: &mut Linker<BackendState>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, HasSelf<BackendState>>(linker, |state| state)?;
    dns::add_to_linker::<_, HasSelf<BackendState>>(linker, |state| state)?;
    clock::add_to_linker::<_, HasSelf<BackendState>>(linker, |state| state)?;
    log::add_to_linker::<_, HasSelf<BackendState>>(linker, |state| state)?;
    io::error::add_to_linker::<_, HasTable>(linker, |state| &mut state.table)?;
    io::poll::add_to_linker::<_, HasTable>(linker, |state| &mut state.table)?;
    io::streams::add_to_linker::<_, HasTable>(linker, |state| &mut state.table)?;
    clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(linker, |state| WasiClocksCtxView {
        ctx: &mut state.clocks,
        table: &mut state.table,
    })?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

impl types::Host for BackendState {}

impl dns::Host for BackendState {
    async fn srv(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Vec<dns::SrvRecord>, types::Error>> {
        if let Err(denied) = self.check_name(&name) {
            return Ok(Err(denied));
        }
        let found = self.outgoing.resolver.srv(&name).await;
        Ok(found.map_err(dns_error).map(|records| {
            let record = |record: SrvRecord| dns::SrvRecord {
                priority: record.priority,
                weight: record.weight,
                port: record.port,
                target: record.target,
                addresses: record.addresses.iter().map(ToString::to_string).collect(),
                ttl: u32::try_from(record.ttl.as_secs()).unwrap_or(u32::MAX),
            };
            records.into_iter().map(record).collect()
        }))
    }

    async fn addresses(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Vec<String>, types::Error>> {
        if let Err(denied) = self.check_name(&name) {
            return Ok(Err(denied));
        }
        let found = self.outgoing.resolver.records(&name).await;
        Ok(found
            .map_err(dns_error)
            .map(|found| found.iter().map(ToString::to_string).collect()))
    }
}

impl BackendState {
    /// Checks that the component may resolve a name: it can carry data out, to whoever answers
    /// for its domain.
    fn check_name(&self, name: &str) -> Result<(), types::Error> {
        if self.outgoing.allows_name(name) {
            return Ok(());
        }
        if self.outgoing.refusals.count() {
            let backend = &*self.outgoing.name;
            warn!(
                backend,
                "the discovery backend was refused to resolve a name that its configuration does not hold"
            );
        }
        let text = "the configuration does not allow this name to be resolved: add it to names";
        Err(types::Error::Denied(text.to_owned()))
    }
}

fn dns_error(error: IoError) -> types::Error {
    match error.kind() {
        ErrorKind::Unsupported => types::Error::Unsupported,
        ErrorKind::InvalidInput => types::Error::InvalidConfig(error.to_string()),
        _ => types::Error::Unavailable(error.to_string()),
    }
}

impl clock::Host for BackendState {
    async fn now(&mut self) -> wasmtime::Result<u64> {
        let elapsed = self.started.elapsed().as_millis();
        Ok(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    async fn sleep(&mut self, span: u64) -> wasmtime::Result<()> {
        sleep(Duration::from_millis(span).min(MAX_SLEEP)).await;
        Ok(())
    }
}

impl log::Host for BackendState {
    async fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let line = &message[..message.floor_char_boundary(LOG_LINE_BYTES)];
        if level == log::Level::Error {
            self.last_error_log = Some(line.to_owned());
        }
        let backend = &*self.outgoing.name;
        match self.log_lines_left {
            0 => return Ok(()),
            1 => warn!(
                backend,
                "the discovery backend logs too much; its further lines are dropped"
            ),
            // As a field: it may hold line breaks.
            _ => match level {
                log::Level::Debug => debug!(backend, line, "discovery backend"),
                log::Level::Info => info!(backend, line, "discovery backend"),
                log::Level::Warn => warn!(backend, line, "discovery backend"),
                log::Level::Error => error!(backend, line, "discovery backend"),
            },
        }
        self.log_lines_left -= 1;
        Ok(())
    }
}
