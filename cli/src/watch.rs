//! Follows a deployment until it ends, and shows it as a tree, as lines, as JSON or not at
//! all.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hotswap_core::{Clock as _, DeploymentId, SystemClock};
use serde_json::Value;
use tokio::time::Instant;

use crate::args::Patience;
use crate::client::Client;
use crate::exit::Exit;
use crate::output::{Output, print_message};
use crate::report;
use crate::shutdown::ShutdownSignal;

mod closing;
mod follow;
pub mod lines;
mod screen;
mod session;
mod soak_lines;
mod state;
mod tree;
mod view;

#[cfg(test)]
mod sample_journals;
#[cfg(test)]
mod tests;

use closing::{Closing, WaitEnd};
use follow::{FollowUpdate, Follower};
use session::Session;
pub use state::WatchState;
use view::View;

/// How often the tree is redrawn between events: it counts seconds.
const REDRAW_INTERVAL: Duration = Duration::from_secs(1);

/// How long the engine may take to tell the state after a wait.
const STATE_TIMEOUT: Duration = Duration::from_secs(5);

/// What is shown of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Every event as a tree on a terminal, as lines elsewhere; with `--json` only the outcome.
    Everything,
    /// Only the outcome.
    Outcome,
    /// The events after the one with this number, as lines; with `--json` as JSON.
    Events {
        /// The number.
        after: Option<u64>,
    },
}

/// How to wait for a deployment.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    /// What to show meanwhile.
    pub show: Show,
    /// How long to wait.
    pub patience: Patience,
    /// Whether the engine has just accepted the deployment: it exists, and so does the engine.
    pub is_known: bool,
}

/// Follows a deployment until it ends, the patience is over, a person has to decide, the
/// events cannot be read any more, or a signal comes. In all cases but the first the
/// deployment continues, and the user is told how to go on.
///
/// # Errors
/// Where standard output is closed.
pub async fn watch(
    client: &Client,
    id: DeploymentId,
    wait: Wait,
    signal: &mut ShutdownSignal,
    out: Output,
) -> Result<Exit> {
    let mut view = View::new(wait.show, out);
    let mut session = Session::default();
    let mut follower = Follower::new(client.clone(), id, wait.is_known);
    let limits = Limits::new(wait.patience, &view, out);
    let end = follow(&mut follower, &mut session, &mut view, limits, signal).await?;
    view.finish(&session)?;
    let closing = Closing::new(end, id, &session, wait.is_known, client);
    print_outcome(&closing, &session, id, wait.show, client, out).await?;
    for line in &closing.lines {
        print_message(line);
    }
    Ok(closing.exit)
}

/// When a wait ends before the deployment does.
struct Limits {
    time: Option<Duration>,
    pause: Option<Duration>,
    /// Whether the wait goes on while a person decides.
    through_approval: bool,
}

impl Limits {
    fn new(patience: Patience, view: &View, out: Output) -> Self {
        let attended = out.is_attended();
        Self {
            time: patience.time_limit(attended),
            pause: patience.pause_limit(attended),
            // A person who sees the tree sees the question too, and may decide in another
            // terminal.
            through_approval: patience.through_approval || view.is_tree(),
        }
    }
}

/// Shows what the follower delivers, until the wait ends.
async fn follow(
    follower: &mut Follower,
    session: &mut Session,
    view: &mut View,
    limits: Limits,
    signal: &mut ShutdownSignal,
) -> Result<WaitEnd> {
    let start = Instant::now();
    let mut redraw = tokio::time::interval(REDRAW_INTERVAL);
    loop {
        let paused_since = session.paused_since.filter(|_| session.live);
        tokio::select! {
            update = follower.next() => {
                if let Err(error) = apply(update, session, view) {
                    let is_output_closed = report::is_broken_pipe(&error);
                    return if is_output_closed { Err(error) } else { Ok(WaitEnd::Failed(error)) };
                }
                view.redraw(session)?;
                if let Some(exit) = session.exit(limits.through_approval) {
                    return Ok(WaitEnd::Exit(exit));
                }
            },
            _ = redraw.tick(), if view.is_tree() => view.redraw(session)?,
            limit = sleep_for(Some(start), limits.time) => return Ok(WaitEnd::TimeLimit(limit)),
            limit = sleep_for(paused_since, limits.pause) => {
                return Ok(WaitEnd::PauseLimit(limit));
            }
            signal = signal.next() => return Ok(WaitEnd::Exit(signal.exit())),
        }
    }
}

/// Applies what a follower delivers.
///
/// # Errors
/// Where nothing can follow, or standard output is closed.
fn apply(update: Option<FollowUpdate>, session: &mut Session, view: &View) -> Result<()> {
    match update {
        Some(FollowUpdate::Events(events)) => {
            session.apply(&events, |event, lines| view.show_event(event, lines))
        }
        Some(FollowUpdate::Soak(soak)) => {
            let lines = session.set_soak(soak);
            view.show_lines(&lines)
        }
        Some(FollowUpdate::UpToDate) => {
            session.set_live();
            Ok(())
        }
        Some(FollowUpdate::StartedOver) => {
            session.start_over(view.is_tree());
            Ok(())
        }
        Some(FollowUpdate::Disconnected(error)) => {
            session.set_disconnected(&error.to_string(), view.is_tree());
            Ok(())
        }
        Some(FollowUpdate::Failed(error)) => Err(error.into()),
        None => anyhow::bail!("the events stopped before the deployment ended"),
    }
}

/// Waits until a deployment ends, and prints nothing. Returns its last state. Cancel safe.
///
/// # Errors
/// Where the engine rejects the request.
pub async fn wait_until_ended(client: &Client, id: DeploymentId) -> Result<WatchState> {
    let mut follower = Follower::new(client.clone(), id, true);
    let mut session = Session::default();
    loop {
        match follower.next().await {
            Some(FollowUpdate::Events(events)) => session.apply(&events, |_, _| Ok(()))?,
            Some(FollowUpdate::StartedOver) => session.start_over(true),
            Some(
                FollowUpdate::UpToDate | FollowUpdate::Soak(_) | FollowUpdate::Disconnected(_),
            ) => {}
            Some(FollowUpdate::Failed(error)) => return Err(error.into()),
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

/// Returns `limit` once it is over. Never, where there is no start or no limit. Cancel safe.
async fn sleep_for(start: Option<Instant>, limit: Option<Duration>) -> Duration {
    match (start, limit) {
        (Some(start), Some(limit)) => {
            tokio::time::sleep_until(start + limit).await;
            limit
        }
        _ => std::future::pending().await,
    }
}

/// Prints on standard output what the view has not shown.
async fn print_outcome(
    closing: &Closing,
    session: &Session,
    id: DeploymentId,
    show: Show,
    client: &Client,
    out: Output,
) -> Result<()> {
    let has_ended = matches!(closing.exit, Exit::Success | Exit::NotSucceeded);
    match show {
        // The last event tells how the deployment ended.
        Show::Events { .. } if has_ended => Ok(()),
        Show::Events { .. } if out.json => out.json_line(&closing.to_json(None)),
        Show::Everything | Show::Outcome if out.json => {
            let state = state(closing.exit, id, client).await;
            out.json(&closing.to_json(state))
        }
        Show::Outcome if has_ended => {
            let mut lines = session.last_lines.iter();
            lines.try_for_each(|line| out.line(line))
        }
        _ => Ok(()),
    }
}

/// The deployment as the engine shows it, where the engine can be asked.
async fn state(exit: Exit, id: DeploymentId, client: &Client) -> Option<Value> {
    match exit {
        Exit::Success
        | Exit::NotSucceeded
        | Exit::TimedOut
        | Exit::AwaitingApproval
        | Exit::Paused => {}
        // After a signal, a supervisor does not wait long.
        _ => return None,
    }
    let state = tokio::time::timeout(STATE_TIMEOUT, client.deployment(id)).await;
    state.ok()?.ok()
}
