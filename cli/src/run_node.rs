//! `hotswap node run`: one node, until a signal stops it.

use std::fs;
use std::io::Read as _;

use anyhow::{Context as _, Result};
use hotswap_core::NodeId;
use tokio_util::sync::CancellationToken;

use crate::args::{Global, RunNode};
use crate::environment_variables::EnvironmentVariables;
use crate::exit::{Exit, UsageError};
use crate::shutdown::ShutdownSignal;
use crate::{logging, settings};

/// Runs a node until SIGINT or SIGTERM. A second signal does not wait for requests in flight.
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
    let node = hotswap_node::Node::start(config(args, global, variables)?).await?;
    tokio::select! {
        () = signal.received() => {}
        () = orphaned.cancelled() => {}
    }
    tokio::select! {
        () = node.shutdown() => {}
        () = signal.received() => {}
    }
    Ok(Exit::Success)
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
        engine_url: Some(args.engine),
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
