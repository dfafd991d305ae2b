//! `hotswap node run`: one node, until a signal stops it.

use std::fs;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hotswap_common::tls::{ClientTls, Reload, ServerTls, follow};
use hotswap_core::NodeId;
use hotswap_node::{Node, Runtime};
use hotswap_plugins::discovery::InstanceHealth;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::args::{Global, RunNode};
use crate::config::{Telemetry, default_lame_duck};
use crate::defaults::COMPILED_FOLDER;
use crate::discovery::Components;
use crate::environment_variables::EnvironmentVariables;
use crate::exit::{Exit, UsageError};
use crate::registrations::{NodeRegistrant, Registrations, read_node_sources};
use crate::shutdown::{ReloadSignal, ShutdownSignal, StopSignal};
use crate::{compiled_folder, logging, settings, telemetry};

/// How often the node is looked at, to report in registries whether it is ready.
const READINESS_INTERVAL: Duration = Duration::from_millis(250);

/// Runs a node until SIGINT or SIGTERM, and after SIGTERM for its lame-duck time. A second signal
/// waits neither for that nor for requests in flight. SIGHUP has it read its token and its
/// certificates again.
///
/// # Errors
/// Where the node has no token or no id, a file cannot be used, or it cannot start.
pub async fn run(args: RunNode, global: &Global, variables: &EnvironmentVariables) -> Result<Exit> {
    logging::init(args.log_format)?;
    let (mut signal, mut reload) = (ShutdownSignal::new()?, ReloadSignal::new()?);
    let orphaned = CancellationToken::new();
    if args.with_parent {
        watch_standard_input(orphaned.clone())?;
    }
    let sources = args.discovery.as_deref().map(read_node_sources);
    let sources = sources.transpose()?.unwrap_or_default();
    let default = default_lame_duck(&[args.data, args.control]);
    let lame_duck = args.lame_duck.unwrap_or(default);
    let args_telemetry: Telemetry = args.telemetry.clone().into();
    let client_tls = global.tls.files()?;
    let compiled_dir = args.compiled_dir.clone();
    let compiled_dir = compiled_dir.unwrap_or_else(|| args.data_dir.join(COMPILED_FOLDER));
    let config = config(args, global, variables)?;
    let service = telemetry::Service {
        name: "hotswap-node",
        instance: Some(config.id.to_string()),
    };
    let settings = (&args_telemetry, &Telemetry::default());
    let mut exporting = telemetry::start(&service, settings, &client_tls)?;
    let reload_now = Arc::new(Notify::new());
    let _files = AbortOnDropHandle::new(tokio::spawn(follow(
        files(&config),
        Arc::clone(&reload_now),
    )));
    let mut registrant = NodeRegistrant::of(&config);
    let compiled = compiled_folder::open(&compiled_dir)?;
    let runtime = Runtime::new(&compiled_dir)?;
    let node = Node::start_with(runtime, config).await?;
    registrant.listens_on(&node);
    if let Some(exporting) = &mut exporting {
        exporting.export_metrics(Arc::new(node.metrics()));
    }
    let not_ready = InstanceHealth::Critical;
    let mut registrations = Registrations::start(
        &sources,
        not_ready,
        Arc::new(registrant),
        &Components::with_compiled(compiled),
    )
    .await?;
    let stopped_by = loop {
        tokio::select! {
            signal = signal.next() => break signal,
            () = orphaned.cancelled() => break StopSignal::Interrupt,
            () = report_readiness(&node, &registrations) => {}
            () = reload.received() => {
                reload_now.notify_one();
                reload_token(&node, global, variables);
            }
        }
    };
    let lame_duck = stopped_by.lame_duck(lame_duck);
    let stop = async {
        // First, so that nobody sends requests here any more when the port closes.
        node.begin_lame_duck();
        let end = tokio::time::Instant::now() + lame_duck;
        registrations.stop().await;
        if !lame_duck.is_zero() {
            tracing::info!(?lame_duck, "node stops soon and goes on serving until then");
            tokio::time::sleep_until(end).await;
        }
        node.shutdown().await;
    };
    tokio::select! {
        () = stop => {}
        () = signal.received() => {}
    }
    telemetry::shutdown(exporting).await;
    Ok(Exit::Success)
}

/// The files that are read again when they change.
fn files(config: &hotswap_node::Config) -> Vec<Arc<dyn Reload>> {
    let mut files: Vec<Arc<dyn Reload>> = vec![Arc::new(config.engine_tls.clone())];
    files.extend((config.tls.clone()).map(|tls| Arc::new(tls) as Arc<dyn Reload>));
    files
}

/// Reads the token from its file again. The engine must have the same one.
fn reload_token(node: &Node, global: &Global, variables: &EnvironmentVariables) {
    match token(global, variables) {
        Ok(token) => {
            node.replace_token(token);
            tracing::info!("reloaded the node token and certificates; flags need a restart");
        }
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(
                error,
                "cannot reload the node token; the one before stays in use"
            );
        }
    }
}

/// Reports in the registries whether clients may be sent to the node. Never returns.
async fn report_readiness(node: &Node, registrations: &Registrations) {
    let mut look = tokio::time::interval(READINESS_INTERVAL);
    loop {
        look.tick().await;
        registrations.report(match node.check_ready() {
            Ok(()) => InstanceHealth::Passing,
            Err(_) => InstanceHealth::Critical,
        });
    }
}

fn config(
    args: RunNode,
    global: &Global,
    variables: &EnvironmentVariables,
) -> Result<hotswap_node::Config> {
    let server_tls = args.tls.files()?;
    let server_tls = server_tls.map(|files| ServerTls::open(files, "the certificate of this node"));
    let engine_url = args.engine().map(str::to_owned);
    let id = match args.id {
        Some(id) => id,
        None => host_name()?,
    };
    Ok(hotswap_node::Config {
        id,
        environment: args.environment,
        zone: args.zone,
        labels: args.labels.into_iter().collect(),
        data_addr: args.data,
        control_addr: args.control,
        advertise: args.advertise,
        engine_url,
        is_discovered: args.discovered || args.discovery.is_some(),
        token: token(global, variables)?,
        data_dir: args.data_dir,
        tls: server_tls.transpose()?,
        engine_tls: ClientTls::open(global.tls.files()?)?,
        drain: Some(args.drain),
        limits: hotswap_node::Limits {
            total_memory_bytes: hotswap_node::instance_memory(),
            ..hotswap_node::Limits::default()
        },
        log: logging::recent(),
    })
}

/// The token that the node shares with its engine.
fn token(global: &Global, variables: &EnvironmentVariables) -> Result<hotswap_node::Secret> {
    let token = settings::token(global, variables.node_token.as_ref())?;
    let missing = || {
        UsageError(
            "a node needs the token that nodes share with the engine: give --token-file or \
             HOTSWAP_NODE_TOKEN"
                .to_owned(),
        )
    };
    Ok(token.ok_or_else(missing)?)
}

fn host_name() -> Result<NodeId> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname");
    let name = name.context("cannot read the host's name; name the node with --id")?;
    let id = name.trim().parse();
    id.map_err(|error| UsageError(format!("{error}; name the node with --id")).into())
}

/// Cancels once standard input closes. The process that started this node holds the other
/// end of the pipe, so the node ends with it, even after SIGKILL.
fn watch_standard_input(orphaned: CancellationToken) -> Result<()> {
    let watch = move || {
        // The content does not matter, only the end.
        let mut buffer = [0; 64];
        let mut input = std::io::stdin().lock();
        while matches!(input.read(&mut buffer), Ok(1..)) {}
        orphaned.cancel();
    };
    // A thread of its own: a blocked read must not delay the runtime's shutdown.
    std::thread::Builder::new()
        .name("parent".to_owned())
        .spawn(watch)
        .context("cannot start a thread")?;
    Ok(())
}
