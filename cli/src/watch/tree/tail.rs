//! The lines below the tree: the last checks, the strategy's log, and how it ended.

use hotswap_core::{Deployment, Finding};

use super::palette::Palette;
use crate::watch::state::WatchState;
use crate::wrap::wrap;
use crate::{format, interval_bar};

/// The lines of the strategy's log that are shown.
const LOG_LINES: usize = 4;

pub(super) fn render(state: &WatchState, columns: usize, palette: &Palette) -> Vec<String> {
    let deployment = &state.deployment;
    let mut lines = if state.live_findings.is_empty() {
        checks(
            "checks of the last soak",
            &deployment.findings,
            columns,
            palette,
        )
    } else {
        checks("checks so far", &state.live_findings, columns, palette)
    };
    lines.extend(warnings(state, columns, palette));
    lines.extend(log(deployment, columns, palette));
    lines.extend(end(deployment, columns, palette));
    lines
}

fn checks(title: &str, findings: &[Finding], columns: usize, palette: &Palette) -> Vec<String> {
    if findings.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), palette.bold(title)];
    for finding in findings {
        let text = format::sanitize(&format::finding(finding));
        lines.extend(wrap(&format!("  {text}"), columns, "    "));
        for bar in interval_bar::draw_all(finding) {
            lines.extend(wrap(&format!("    {bar}"), columns, "    "));
        }
    }
    lines
}

/// The soaks that cannot decide, until the deployment ends.
fn warnings(state: &WatchState, columns: usize, palette: &Palette) -> Vec<String> {
    if state.deployment.lifecycle.is_ended() {
        return Vec::new();
    }
    let lines = state.warnings.iter();
    let lines = lines.flat_map(|warning| wrap(&format::soak_warning(warning), columns, "  "));
    lines.map(|line| palette.warning(&line)).collect()
}

fn log(deployment: &Deployment, columns: usize, palette: &Palette) -> Vec<String> {
    let log = &deployment.log;
    if log.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), palette.bold("log")];
    for line in log.iter().skip(log.len().saturating_sub(LOG_LINES)) {
        let (time, message) = (
            format::time_of_day(line.at),
            format::sanitize(&line.message),
        );
        lines.extend(wrap(&format!("  {time}  {message}"), columns, "    "));
    }
    lines
}

fn end(deployment: &Deployment, columns: usize, palette: &Palette) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(cause) = &deployment.cause {
        lines.push(String::new());
        let cause = format!("✘ because {}", format::sanitize(&cause.message));
        let cause = wrap(&cause, columns, "  ");
        lines.extend(cause.iter().map(|line| palette.important(line)));
    }
    let missing = deployment.missing.iter().map(format::missing);
    let not_updated = deployment.not_updated.iter().map(format::not_updated);
    let cordoned = deployment.cordoned.iter().map(format::cordoned);
    for line in missing.chain(cordoned).chain(not_updated) {
        let line = wrap(&format::sanitize(&line), columns, "  ");
        lines.extend(line.iter().map(|line| palette.warning(line)));
    }
    for failure in &deployment.failures {
        let failure = format!("✘ {}: {}", failure.node, failure.error);
        let failure = wrap(&format::sanitize(&failure), columns, "  ");
        lines.extend(failure.iter().map(|line| palette.warning(line)));
    }
    if let Some(ended) = deployment.ended_at {
        let status = deployment.status();
        let (sign, word) = (format::status_sign(status), format::status(status));
        let duration = format::duration(ended.since(deployment.created_at));
        lines.push(String::new());
        lines.push(palette.status(&format!("{sign} {word} after {duration}"), status));
    }
    lines
}
