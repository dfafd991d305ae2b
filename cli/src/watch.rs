//! Follows a deployment until it ends, and shows it as a tree, as lines, as JSON or not at
//! all.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hotswap_core::{Clock as _, DeploymentId, SystemClock};
use tokio::time::Instant;

use crate::args::Patience;
use crate::client::Client;
use crate::exit::Exit;
use crate::output::{Output, print_message};

mod closing;
mod follow;
pub mod lines;
mod screen;
mod session;
mod state;
mod tree;
mod view;

#[cfg(test)]
mod sample_journals;
#[cfg(test)]
mod tests;

use follow::{FollowUpdate, Follower};
use session::Session;
pub use state::WatchState;
use view::View;

/// How often the tree is redrawn between events: it counts seconds.
const REDRAW_INTERVAL: Duration = Duration::from_secs(1);

/// What is shown of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Every event: as a tree on a terminal, as lines elsewhere, as JSON with `--json`.
    Everything,
    /// Only the outcome.
    Outcome,
}

/// Follows a deployment until it ends, the time-out passes, a person has to decide, or the
/// user presses Ctrl-C. In the last three cases the deployment continues.
///
/// # Errors
/// Where the engine rejects the request, or standard output is closed.
pub async fn watch(
    client: &Client,
    id: DeploymentId,
    show: Show,
    patience: Patience,
    out: Output,
) -> Result<Exit> {
    let mut view = View::new(show, out);
    let mut follower = Follower::new(client.clone(), id);
    let mut session = Session::default();
    let deadline = patience.timeout.map(|timeout| Instant::now() + timeout);
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    let mut redraw = tokio::time::interval(REDRAW_INTERVAL);
    // A person who sees the tree sees the question too, and may decide in another terminal.
    let wait_for_decision = patience.through_approval || view.is_tree();
    let exit = loop {
        tokio::select! {
            update = follower.next() => {
                match update {
                    Some(FollowUpdate::Events(events)) => {
                        session.apply(&events, |event, lines| view.show_event(event, lines))?;
                    }
                    Some(FollowUpdate::UpToDate) => session.set_live(),
                    Some(FollowUpdate::Disconnected(error)) => {
                        session.set_disconnected(&error.to_string(), view.is_tree());
                    }
                    Some(FollowUpdate::Rejected(error)) => return Err(error.into()),
                    None => anyhow::bail!("the events of deployment {id} stopped before its end"),
                }
                view.redraw(&session)?;
                if let Some(exit) = session.exit(wait_for_decision) {
                    break exit;
                }
            },
            _ = redraw.tick(), if view.is_tree() => view.redraw(&session)?,
            () = sleep_until(deadline) => break Exit::Timeout,
            _ = &mut interrupt => break Exit::Interrupted,
        }
    };
    view.finish(&session)?;
    if show == Show::Outcome && matches!(exit, Exit::Success | Exit::NotSucceeded) {
        print_outcome(client, id, &session, out).await?;
    }
    for line in closing::messages(exit, id, session.state.as_ref(), patience) {
        print_message(&line);
    }
    Ok(exit)
}

/// Waits until a deployment ends, and prints nothing. Returns its last state. Cancel safe.
///
/// # Errors
/// Where the engine rejects the request.
pub async fn wait_until_ended(client: &Client, id: DeploymentId) -> Result<WatchState> {
    let mut follower = Follower::new(client.clone(), id);
    let mut session = Session::default();
    loop {
        match follower.next().await {
            Some(FollowUpdate::Events(events)) => session.apply(&events, |_, _| Ok(()))?,
            Some(FollowUpdate::UpToDate | FollowUpdate::Disconnected(_)) => {}
            Some(FollowUpdate::Rejected(error)) => return Err(error.into()),
            None => return session.state.with_context(|| no_events(id)),
        }
    }
}

/// Loads the present state of a deployment from its events.
///
/// # Errors
/// Where the engine rejects the request or cannot be reached.
pub async fn load(client: &Client, id: DeploymentId) -> Result<WatchState> {
    let mut session = Session::default();
    loop {
        let state = session.state.as_ref();
        let after = state.map(|state| state.deployment.next_seq - 1);
        let events = client.events(id, after).await?;
        if events.is_empty() {
            return session.state.with_context(|| no_events(id));
        }
        session.apply(&events, |_, _| Ok(()))?;
    }
}

/// Draws a state that is not followed.
pub fn render(state: &WatchState, out: Output) -> Vec<String> {
    let frame = tree::Frame {
        now: SystemClock.now(),
        connection: tree::Connection::Closed,
        colours: out.colours,
        rows: usize::MAX,
        columns: out.columns(),
    };
    tree::render(state, &frame)
}

fn no_events(id: DeploymentId) -> String {
    format!("deployment {id} has no events")
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn print_outcome(
    client: &Client,
    id: DeploymentId,
    session: &Session,
    out: Output,
) -> Result<()> {
    if out.json {
        return out.json(&client.deployment(id).await?);
    }
    let mut lines = session.last_lines.iter();
    lines.try_for_each(|line| out.line(line))
}
