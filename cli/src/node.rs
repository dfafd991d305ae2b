//! `hotswap node`: one node, until it is told to stop.

use std::fs;
use std::io::Read as _;

use anyhow::{Context as _, Result};
use hotswap_core::NodeId;
use tokio_util::sync::CancellationToken;

use crate::args::{Global, Node};
use crate::exit::{Exit, Usage};
use crate::logs;
use crate::settings::{Environ, Token};
use crate::stop::Stop;

/// Runs a node until SIGINT or SIGTERM.
///
/// # Errors
/// Where it has no token or name, or does not start.
pub async fn run(args: Node, global: &Global, environ: &Environ) -> Result<Exit> {
    logs::begin(args.log_format, "info")?;
    let mut stop = Stop::new()?;
    let orphaned = CancellationToken::new();
    if args.with_parent {
        watch_parent(orphaned.clone())?;
    }
    let node = hotswap_node::Node::start(config(args, global, environ)?).await?;
    tokio::select! {
        () = stop.asked() => {}
        () = orphaned.cancelled() => {}
    }
    // Whoever asks a second time does not want to wait for the requests that go on.
    tokio::select! {
        () = node.shutdown() => {}
        () = stop.asked() => {}
    }
    Ok(Exit::Success)
}

fn config(args: Node, global: &Global, environ: &Environ) -> Result<hotswap_node::Config> {
    let token = match (&global.token, &global.token_file, &environ.node_token) {
        (Some(token), _, _) => Token::new(token),
        (None, Some(file), _) => Token::from_file(file)?,
        (None, None, Some(token)) => token.clone(),
        (None, None, None) => {
            let why = "a node needs the token of the engine's nodes: give --token-file or HOTSWAP_NODE_TOKEN";
            return Err(Usage(why.to_owned()).into());
        }
    };
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
        token: hotswap_node::Secret::new(token.secret()),
        data_dir: args.dir,
        limits: hotswap_node::Limits::default(),
    })
}

fn host_name() -> Result<NodeId> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname");
    let name = name.context("the host's name cannot be read; name the node with --id")?;
    let named = name.trim().parse();
    named.map_err(|error| Usage(format!("{error}; name the node with --id")).into())
}

/// Cancels once standard input ends. Whoever started this node holds the other end: it
/// ends with them however they end, by SIGKILL too.
fn watch_parent(orphaned: CancellationToken) -> Result<()> {
    let watch = move || {
        // What is written there does not matter, only that it ends.
        let mut piece = [0; 64];
        let mut input = std::io::stdin().lock();
        while matches!(input.read(&mut piece), Ok(1..)) {}
        orphaned.cancel();
    };
    // A thread of its own: a read that blocks must not hold the runtime's end.
    std::thread::Builder::new()
        .name("parent".to_owned())
        .spawn(watch)
        .context("cannot start a thread")?;
    Ok(())
}
