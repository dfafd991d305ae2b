//! The lines above the tree: what is deployed, how far it is, and an open question.

use std::time::Duration;

use hotswap_core::{Call, Status};

use super::palette::Palette;
use super::{Connection, Frame};
use crate::format;
use crate::watch::state::WatchState;
use crate::wrap::wrap;

/// The width of the progress bar, in columns.
const BAR_WIDTH: usize = 30;

pub(super) fn render(state: &WatchState, frame: &Frame, palette: &Palette) -> Vec<String> {
    let deployment = &state.deployment;
    let (header, status) = (&deployment.header, deployment.status());
    let mut lines = title(state, frame, palette);
    let stage = deployment.stages.last().map_or_else(String::new, |stage| {
        format!(
            " · stage {}: {}",
            deployment.stages.len(),
            format::sanitize(&stage.name)
        )
    });
    let strategy = format!(
        "strategy {} {}{stage}",
        header.strategy.name, header.strategy.version
    );
    lines.extend(wrap(&strategy, frame.columns, "  "));
    for relation in format::relations(header) {
        let lines_of = wrap(&relation, frame.columns, "  ");
        lines.extend(lines_of.iter().map(|line| palette.dim(line)));
    }
    let filled = BAR_WIDTH * usize::from(deployment.progress.min(100)) / 100;
    let bar = format!(
        "[{}{}] {:>3} %{}",
        "█".repeat(filled),
        "░".repeat(BAR_WIDTH - filled),
        deployment.progress,
        current_wait(state, frame)
    );
    lines.extend(wrap(&bar, frame.columns, "  "));
    let seconds = frame.now.since(deployment.updated_at).as_secs();
    let last_event = if seconds == 0 {
        "just now".to_owned()
    } else {
        format!("{} ago", format::duration(Duration::from_secs(seconds)))
    };
    match &frame.connection {
        Connection::Live if !status.is_final() => {
            let line = format!("live, last event {last_event} · {}", header.id);
            let line = wrap(&line, frame.columns, "  ");
            lines.extend(line.iter().map(|line| palette.dim(line)));
        }
        Connection::Reconnecting(reason) => {
            let reason = format::sanitize(reason);
            let line = format!("! reconnecting, last event {last_event}: {reason}");
            let line = wrap(&line, frame.columns, "  ");
            lines.extend(line.iter().map(|line| palette.warning(line)));
        }
        Connection::Live | Connection::Closed => lines.push(palette.dim(&header.id.to_string())),
    }
    lines.extend(question(state, frame, palette));
    lines
}

fn title(state: &WatchState, frame: &Frame, palette: &Palette) -> Vec<String> {
    let (header, status) = (&state.deployment.header, state.deployment.status());
    let title = format!("{} → {}", header.module, header.scope());
    let word = format!("{} {}", format::status_sign(status), format::status(status));
    let width = console::measure_text_width(&title) + 3 + console::measure_text_width(&word);
    let (title, word) = (palette.bold(&title), palette.status(&word, status));
    if width <= frame.columns {
        vec![format!("{title}   {word}")]
    } else {
        vec![title, word]
    }
}

/// The decision that a person has to make, and how.
fn question(state: &WatchState, frame: &Frame, palette: &Palette) -> Vec<String> {
    let deployment = &state.deployment;
    let Some(question) = &deployment.question else {
        return Vec::new();
    };
    let due = deployment.waiting_until().map_or_else(String::new, |due| {
        format!(" (until {})", format::date_time(due))
    });
    let question = format!("? YOUR DECISION: {}{due}", format::sanitize(question));
    let question = wrap(&question, frame.columns, "  ");
    let id = deployment.header.id;
    let mut lines = vec![String::new()];
    lines.extend(question.iter().map(|line| palette.important(line)));
    let wait = state.wait_flag();
    let commands =
        |wait: &str| ["approve", "reject"].map(|verb| format!("  hotswap {verb} {id}{wait}"));
    // A command is not wrapped: then it could not be copied.
    let fits = |line: &String| line.chars().count() <= frame.columns;
    let whole = commands(&wait);
    lines.extend(if whole.iter().all(fits) {
        whole
    } else {
        commands("")
    });
    lines
}

/// What the strategy waits for, and how much longer.
fn current_wait(state: &WatchState, frame: &Frame) -> String {
    let deployment = &state.deployment;
    if deployment.status() == Status::Paused {
        let deadline = deployment.deadline.falls_at();
        let deadline = deadline.map_or_else(String::new, |at| {
            format!(", or it is rolled back at {}", format::date_time(at))
        });
        return format!(
            "   paused: hotswap resume {}{deadline}",
            deployment.header.id
        );
    }
    if deployment.status() == Status::Pending
        && let Some(other) = deployment.header.supersedes
    {
        return format!("   waiting for {other} to end");
    }
    let activity = match &state.open_call {
        Some(Call::Soak { canary, .. }) => {
            format!("watching {}", format::count(canary.len(), "node"))
        }
        Some(Call::Sleep { .. }) => "waiting".to_owned(),
        _ => return String::new(),
    };
    let seconds_left = deployment
        .waiting_until()
        .map(|due| due.since(frame.now).as_secs());
    let left = seconds_left.map_or_else(String::new, |seconds| {
        let left = Duration::from_secs(seconds.max(1));
        format!(", {} left", format::duration(left))
    });
    format!("   {activity}{left}")
}
