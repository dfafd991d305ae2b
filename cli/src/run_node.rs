//! `hotswap node run`: one node, until a signal stops it.

use std::fs;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hotswap_core::NodeId;
use hotswap_node::Node;
use hotswap_plugins::discovery::InstanceHealth;
use tokio_util::sync::CancellationToken;

use crate::args::{Global, RunNode};
use crate::config::Telemetry;
use crate::discovery::Components;
use crate::environment_variables::EnvironmentVariables;
use crate::exit::{Exit, UsageError};
use crate::registrations::{NodeRegistrant, Registrations, read_node_sources};
use crate::shutdown::ShutdownSignal;
use crate::{logging, settings, telemetry};

/// How often the node is looked at, to report in registries whether it is ready.
const READINESS_INTERVAL: Duration = Duration::from_millis(250);

/// Runs a node until SIGINT or SIGTERM, and then for its lame-duck time. A second signal waits
/// neither for that nor for requests in flight.
///
/// # Errors
/// Where the node has no token or no id, or cannot start.
pub async fn run(args: RunNode, global: &Global, variables: &EnvironmentVariables) -> Result<Exit> {
    logging::init(args.log_format)?;
    let mut signal = ShutdownSignal::new()?;
    let orphaned = CancellationToken::new();
    if args.with_parent {
        watch_standard_input(orphaned.clone())?;
    }
    let sources = args.discovery.as_deref().map(read_node_sources);
    let sources = sources.transpose()?.unwrap_or_default();
    let lame_duck = args.lame_duck;
    let traces = args.telemetry.clone().into();
    let config = config(args, global, variables)?;
    let service = telemetry::Service {
        name: "hotswap-node",
        instance: Some(config.id.to_string()),
    };
    let exporting = telemetry::start(&service, &traces, &Telemetry::default())?;
    let mut registrant = NodeRegistrant::of(&config);
    let node = Node::start(config).await?;
    registrant.listens_on(&node);
    let not_ready = InstanceHealth::Critical;
    let registrations = Registrations::start(
        &sources,
        not_ready,
        Arc::new(registrant),
        &Components::default(),
    )
    .await?;
    tokio::select! {
        () = signal.received() => {}
        () = orphaned.cancelled() => {}
        () = report_readiness(&node, &registrations) => {}
    }
    let stop = async {
        // First, so that nobody sends requests here any more when the port closes.
        node.begin_lame_duck();
        registrations.stop().await;
        if !lame_duck.is_zero() {
            tracing::info!(?lame_duck, "node stops soon and goes on serving until then");
            tokio::time::sleep(lame_duck).await;
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
    let token = settings::token(global, variables.node_token.as_ref())?.ok_or_else(|| {
        UsageError(
            "a node needs the token that nodes share with the engine: give --token-file or \
             HOTSWAP_NODE_TOKEN"
                .to_owned(),
        )
    })?;
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
        token: hotswap_node::Secret::new(token.expose()),
        data_dir: args.data_dir,
        limits: hotswap_node::Limits::default(),
    })
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
