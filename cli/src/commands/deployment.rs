//! `hotswap deployment …`.

use anyhow::Result;
use hotswap_core::DeploymentId;

use super::Context;
use crate::args::{DeploymentCommand, Events, Patience, Watch};
use crate::client::{DeploymentRow, read_findings};
use crate::exit::Exit;
use crate::format;
use crate::watch::{self, Show, Wait, WatchState, lines};

mod control;
mod create;
mod diff;
mod list;
mod plan;

pub use create::undo;

/// Runs a `deployment` command.
pub async fn run(command: DeploymentCommand, context: &Context) -> Result<Exit> {
    match command {
        DeploymentCommand::Create(args) => create::create(*args, context).await,
        DeploymentCommand::Rollback(args) => create::rollback(args, context).await,
        DeploymentCommand::Retry(args) => create::retry(args, context).await,
        DeploymentCommand::Watch(args) => watch(&args, context).await,
        DeploymentCommand::Events(args) if args.follow => follow(&args, context).await,
        command => context.unless_stopped(request(command, context)).await,
    }
}

/// Runs a command that makes requests and does not wait for a deployment.
async fn request(command: DeploymentCommand, context: &Context) -> Result<Exit> {
    match command {
        DeploymentCommand::List(args) => list::list(args, context).await,
        DeploymentCommand::Get { id } => get(id, context).await,
        DeploymentCommand::Events(args) => events(&args, context).await,
        DeploymentCommand::Pause { id } => control::pause(id, context).await,
        DeploymentCommand::Resume { id } => control::resume(id, context).await,
        DeploymentCommand::Promote(args) => control::promote(args, context).await,
        DeploymentCommand::Diff { id, with } => diff::diff(id, with, context).await,
        DeploymentCommand::Abort { id, reason } => control::abort(id, reason, context).await,
        DeploymentCommand::Terminate { id, reason } => {
            control::terminate(id, reason, context).await
        }
        DeploymentCommand::Approve(args) => control::approve(args, context).await,
        DeploymentCommand::Reject(args) => control::reject(args, context).await,
        DeploymentCommand::Create(_)
        | DeploymentCommand::Rollback(_)
        | DeploymentCommand::Retry(_)
        | DeploymentCommand::Watch(_) => unreachable!("waits are handled by `run`"),
    }
}

/// Shows the state of a deployment.
async fn get(id: DeploymentId, context: &Context) -> Result<Exit> {
    let presented = context.client.deployment(id).await?;
    if context.out.json {
        context.out.json(&presented)?;
    } else if !presented["damage"].is_null() {
        damaged(&serde_json::from_value(presented)?, context)?;
    } else {
        let mut state = watch::load(&context.client, id).await?;
        if state.is_soaking() {
            state.live_findings = read_findings(&presented["liveFindings"]);
        }
        let warnings = presented["warnings"].as_array().into_iter().flatten();
        let warnings = warnings.filter_map(|warning| warning.as_str().map(str::to_owned));
        state.warnings = warnings.collect();
        let lines = watch::render(&state, context.out);
        lines.iter().try_for_each(|line| context.out.line(line))?;
    }
    Ok(Exit::Success)
}

/// Shows a deployment whose events cannot all be read.
fn damaged(row: &DeploymentRow, context: &Context) -> Result<()> {
    let (id, status) = (row.execution_id, format::status(row.status));
    let (module, environment) = (&row.module_name, &row.target_environment);
    let line = |text: &str| context.out.line(&format::sanitize(text));
    line(&format!(
        "deployment {id} of {module} to {environment}: {status}"
    ))?;
    let Some(damage) = &row.damage else {
        return Ok(());
    };
    line(&format!("! {damage}"))?;
    match (row.status.is_final(), damage.needs_upgrade) {
        (true, _) => Ok(()),
        (false, true) => line("  next: start the newer engine, which continues the deployment"),
        (false, false) => line(&format!("  next: hotswap deployment terminate {id}")),
    }
}

/// Follows a deployment until it ends.
async fn watch(args: &Watch, context: &Context) -> Result<Exit> {
    let wait = Wait {
        show: Show::Everything,
        patience: args.patience,
        is_known: false,
    };
    wait_for_end(args.id, wait, context).await
}

/// Prints the events so far and those that follow.
async fn follow(args: &Events, context: &Context) -> Result<Exit> {
    let patience = Patience {
        timeout: args.timeout,
        through_approval: true,
        through_pause: true,
    };
    let wait = Wait {
        show: Show::Events { after: args.after },
        patience,
        is_known: false,
    };
    wait_for_end(args.id, wait, context).await
}

/// Waits until a deployment ends, or the wait does.
async fn wait_for_end(id: DeploymentId, wait: Wait, context: &Context) -> Result<Exit> {
    let mut signal = context.signal.lock().await;
    watch::watch(&context.client, id, wait, &mut signal, context.out).await
}

/// Prints the events so far: one JSON object a line with `--json`, else as `watch` prints
/// them.
async fn events(args: &Events, context: &Context) -> Result<Exit> {
    let mut state: Option<WatchState> = None;
    let mut last_seq = None;
    loop {
        // Always from the first event on: a line may depend on the events before it.
        let events = context.client.events(args.id, last_seq).await?;
        let Some(last) = events.last() else {
            return Ok(Exit::Success);
        };
        last_seq = Some(last.event.seq);
        for recorded in &events {
            let lines = lines::describe(state.as_ref(), &recorded.event);
            match &mut state {
                None => state = Some(WatchState::begin(&recorded.event)?),
                Some(state) => state.apply(&recorded.event)?,
            }
            if args.after.is_some_and(|after| recorded.event.seq <= after) {
                continue;
            }
            if context.out.json {
                context.out.json_line(&recorded.json)?;
            } else {
                lines.iter().try_for_each(|line| context.out.line(line))?;
            }
        }
    }
}
