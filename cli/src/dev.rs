//! `hotswap dev`: everything on one machine, to try things out. The engine runs in this
//! process. The nodes are processes of their own, as in production.

use std::io::IsTerminal as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hotswap_common::tls::ClientTls;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::args::Dev;
use crate::client::Client;
use crate::config::Config;
use crate::defaults;
use crate::engine::RunningEngine;
use crate::exit::Exit;
use crate::logging::{self, LogFormat};
use crate::output::{Output, print_message};
use crate::settings::Settings;
use crate::shutdown::ShutdownSignal;

mod folder;
mod messages;
mod nodes;
mod registry;
mod samples;
mod traffic;

use folder::Folder;
use nodes::NodeProcesses;
use registry::Registry;
use traffic::Traffic;

/// How long the start may take. Six processes that each compile a module need some seconds on
/// a small machine; whatever takes this long has failed.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// How often the status line is printed.
const STATUS_INTERVAL: Duration = Duration::from_millis(500);

/// Runs everything until Ctrl-C, SIGTERM or the end of `--for`, then stops all that it
/// started.
///
/// # Errors
/// Where something cannot start. Whatever has started by then is stopped.
pub async fn run(args: Dev, json: bool, no_color: bool) -> Result<Exit> {
    let mut signal = ShutdownSignal::new()?;
    let folder = Folder::open(&args.data_dir)?;
    logging::init_to_file(&folder.engine_log(), LogFormat::Text)?;
    let registry = match args.discovery {
        Some(kind) => {
            // It takes some seconds, and may be why nothing starts.
            let started = tokio::select! {
                started = Registry::start(kind, &folder) => started?,
                () = signal.received() => return Ok(Exit::Success),
            };
            print_message(&format!("the registry answers at {}", started.url()));
            Some(started)
        }
        None => None,
    };
    let source = registry.as_ref().map(Registry::source).transpose()?;
    let compiled_dir = match &args.compiled_dir {
        Some(given) => std::path::absolute(given)?,
        None => folder.path().join(defaults::COMPILED_FOLDER),
    };
    let config = Config {
        discovery: source.into_iter().collect(),
        listen: (Ipv4Addr::LOCALHOST, args.port).into(),
        data_dir: folder.engine(),
        compiled_dir: Some(compiled_dir.clone()),
        jwt: Some(folder.jwt()),
        cors_origins: args.cors_origins.clone(),
        ..Config::default()
    };
    print_message(&format!(
        "starting an engine and six nodes in {}",
        folder.path().display()
    ));
    let mut exporting = crate::engine::start_telemetry(&config)?;
    let engine = RunningEngine::start(&config, folder.tokens()).await?;
    if let Some(exporting) = &mut exporting {
        exporting.export_metrics(engine.metrics());
    }
    let settings = Settings {
        server: format!("http://{}", engine.addr()),
        tls: Default::default(),
        token: Some(folder.tokens().api.clone()),
        token_file: None,
        email: String::new(),
        json,
        no_color,
        ci: false,
    };
    let out = Output::new(settings.json, settings.no_color, settings.ci);
    let node_file = registry.as_ref().map(Registry::node_file);
    let mut nodes = NodeProcesses::start(&folder, &compiled_dir, &settings.server, node_file)?;
    let result = {
        let client = Client::new(&settings)?;
        tokio::select! {
            result = run_until_end(&client, &args, &folder, &mut nodes, out) => result,
            () = signal.received() => Ok(()),
        }
    };
    messages::print_notice(
        "stopping the nodes and the engine",
        std::io::stderr().is_terminal(),
    );
    folder.remove_server_file();
    nodes.shutdown().await;
    engine.shutdown().await;
    crate::telemetry::shutdown(exporting).await;
    if let Some(registry) = registry {
        registry.shutdown().await;
    }
    result.map(|()| Exit::Success)
}

/// Prepares everything, announces it, and supervises it until the time is up.
async fn run_until_end(
    client: &Client,
    args: &Dev,
    folder: &Folder,
    nodes: &mut NodeProcesses,
    out: Output,
) -> Result<()> {
    let start = async {
        nodes.wait_until_passing(client).await?;
        samples::deploy(client).await
    };
    timeout(START_TIMEOUT, start).await.with_context(|| {
        format!(
            "not ready after {}s; the logs are in {}",
            START_TIMEOUT.as_secs(),
            folder.path().display()
        )
    })??;
    folder.write_connection_files(client.server())?;
    let rows = samples::list_nodes(client).await?;
    if out.json {
        out.json_line(&messages::ready_record(client.server(), folder, &rows))?;
    } else {
        messages::instructions(client.server(), folder, &rows)
            .iter()
            .try_for_each(|line| out.line(line))?;
    }
    let traffic = Traffic::start(client.clone(), args.rate);
    let mut status = interval(STATUS_INTERVAL);
    status.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let show_status = std::io::stderr().is_terminal() && !out.json && args.rate > 0;
    let end = args.duration.map(|duration| Instant::now() + duration);
    loop {
        tokio::select! {
            notice = nodes.supervise() => messages::print_notice(&notice?, show_status),
            _ = status.tick(), if show_status => messages::print_status(&traffic.statistics()),
            () = sleep_until(end) => break,
        }
    }
    // Traffic stops before the nodes do, so that no request fails because of the shutdown.
    drop(traffic);
    Ok(())
}

async fn sleep_until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// A client for servers on this machine.
fn local_client() -> Result<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .no_proxy()
        .tls_backend_preconfigured(ClientTls::default().config()?);
    builder.build().context("cannot set up an HTTP client")
}
