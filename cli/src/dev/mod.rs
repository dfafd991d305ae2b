//! `hotswap dev`: everything on one machine, to try things out. The engine is in this
//! process; the nodes are processes of their own, as they would be elsewhere.

use std::io::IsTerminal as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::args::{Dev, LogFormat};
use crate::client::Client;
use crate::config::Config;
use crate::exit::Exit;
use crate::logs;
use crate::output::{Output, say};
use crate::serve::Running;
use crate::settings::Settings;
use crate::stop::Stop;

mod folder;
mod guide;
mod nodes;
mod seed;
mod traffic;

use folder::Folder;
use nodes::Nodes;
use traffic::Traffic;

/// Six processes that compile a module each take some seconds on a small machine; what
/// takes longer has gone wrong.
const READY: Duration = Duration::from_secs(120);
/// How often the status line is written anew.
const STATUS: Duration = Duration::from_millis(500);

/// Runs it all until Ctrl-C, SIGTERM or the end of `--for`; then ends all that it began.
///
/// # Errors
/// Where something does not start; whatever was started by then is ended.
pub async fn run(args: Dev, json: bool, plain: bool) -> Result<Exit> {
    let mut stop = Stop::new()?;
    let folder = Folder::open(&args.dir)?;
    logs::begin_in(&folder.engine_log(), LogFormat::Text, "info")?;
    let config = Config {
        listen: (Ipv4Addr::LOCALHOST, args.port).into(),
        data_dir: folder.engine(),
        jwt: Some(folder.jwt()),
        cors_origins: args.cors_origins.clone(),
        ..Config::default()
    };
    say(&format!(
        "starting an engine and six nodes in {}",
        folder.path().display()
    ));
    let engine = Running::start(&config, folder.keys()).await?;
    let settings = Settings {
        server: format!("http://{}", engine.addr()),
        token: Some(folder.keys().api.clone()),
        email: String::new(),
        json,
        plain,
    };
    let out = Output::new(&settings);
    let mut nodes = Nodes::new(&folder, &settings.server)?;
    let done = {
        let client = Client::new(&settings)?;
        tokio::select! {
            done = stay(&client, &args, &folder, &mut nodes, out) => done,
            () = stop.asked() => Ok(()),
        }
    };
    guide::notice(
        "ending the nodes and the engine",
        std::io::stderr().is_terminal(),
    );
    folder.close();
    nodes.shutdown().await;
    engine.shutdown().await;
    done.map(|()| Exit::Success)
}

/// Gets everything ready, says so, and tends it until the time is up.
async fn stay(
    client: &Client,
    args: &Dev,
    folder: &Folder,
    nodes: &mut Nodes,
    out: Output,
) -> Result<()> {
    let ready = async {
        nodes.ready(client).await?;
        seed::sow(client).await
    };
    timeout(READY, ready).await.with_context(|| {
        format!(
            "not ready after {}s; the logs are in {}",
            READY.as_secs(),
            folder.path().display()
        )
    })??;
    folder.announce(client.server())?;
    let known = seed::nodes(client).await?;
    if out.json {
        out.record(&guide::ready(client.server(), folder, &known))?;
    } else {
        guide::text(client.server(), folder, &known)
            .iter()
            .try_for_each(|line| out.line(line))?;
    }
    let traffic = Traffic::start(client.clone(), args.rate);
    let mut status = interval(STATUS);
    status.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let looked_at = std::io::stderr().is_terminal() && !out.json && args.rate > 0;
    let end = args.span.map(|span| Instant::now() + span);
    loop {
        tokio::select! {
            told = nodes.tend() => guide::notice(&told?, looked_at),
            _ = status.tick(), if looked_at => guide::status(&traffic.score()),
            () = until(end) => break,
        }
    }
    // Stopped before the nodes are: what they did not answer then would not be their fault.
    drop(traffic);
    Ok(())
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}
