//! The tree: a branch for each stage, with the nodes that the stage changed first.

use std::collections::BTreeMap;
use std::time::Duration;

use hotswap_core::{KnownVersion, NodeId, NodePhase, NodeState};

use super::Frame;
use super::palette::Palette;
use crate::format;
use crate::watch::state::WatchState;
use crate::wrap::wrap;

/// The columns of a branch's prefix: `├─ `.
const BRANCH_PREFIX: usize = 3;
/// The columns of a leaf's prefix: `│  ├─ `.
const LEAF_PREFIX: usize = 6;
/// The width of the column with a node's phase and activity.
const PHASE_WIDTH: usize = 18;
/// With fewer columns than this, a node's details go below the node.
const MIN_DETAILS_WIDTH: usize = 24;

/// A branch of the tree. Each item of `leaves` is a node, with one line or more.
struct Branch {
    lines: Vec<String>,
    leaves: Vec<Vec<String>>,
}

/// Draws the branches within `rows` lines, as far as each branch with one line fits.
pub(super) fn render(
    state: &WatchState,
    frame: &Frame,
    palette: &Palette,
    rows: usize,
) -> Vec<String> {
    let branches = branches(state, frame, palette);
    let leaf_lines: usize = branches.iter().map(Branch::leaf_lines).sum();
    let branch_lines: usize = branches.iter().map(|branch| branch.lines.len()).sum();
    let free_rows = rows.saturating_sub(branch_lines);
    // Where not all nodes fit, each branch gets its share and counts the rest.
    let share = if leaf_lines <= free_rows {
        usize::MAX
    } else {
        (free_rows / branches.len().max(1)).max(1)
    };
    let last = branches.len().saturating_sub(1);
    let mut lines = Vec::new();
    for (index, branch) in branches.into_iter().enumerate() {
        branch.draw(index == last, share, palette, &mut lines);
    }
    lines
}

impl Branch {
    fn leaf_lines(&self) -> usize {
        self.leaves.iter().map(Vec::len).sum()
    }

    /// Appends the branch with at most `share` lines of leaves.
    fn draw(self, is_last: bool, share: usize, palette: &Palette, lines: &mut Vec<String>) {
        let (knee, trunk) = if is_last {
            ("└─", "  ")
        } else {
            ("├─", "│ ")
        };
        for (index, line) in self.lines.iter().enumerate() {
            let prefix = if index == 0 { knee } else { trunk };
            lines.push(format!("{prefix} {line}"));
        }
        let shown = self.leaves_within(share);
        let hidden = self.leaves.len() - shown;
        for (index, leaf) in self.leaves.iter().take(shown).enumerate() {
            let (knee, leaf_trunk) = if index + 1 == shown && hidden == 0 {
                ("└─", "  ")
            } else {
                ("├─", "│ ")
            };
            for (index, line) in leaf.iter().enumerate() {
                let prefix = if index == 0 { knee } else { leaf_trunk };
                lines.push(format!("{trunk} {prefix} {line}"));
            }
        }
        if hidden > 0 {
            lines.push(palette.dim(&format!("{trunk} └─ … {hidden} more")));
        }
    }

    /// How many leaves fit into `share` lines; one line may have to count the rest.
    fn leaves_within(&self, share: usize) -> usize {
        if self.leaf_lines() <= share {
            return self.leaves.len();
        }
        let mut used = 0;
        let fits = |leaf: &&Vec<String>| {
            used += leaf.len();
            used < share
        };
        self.leaves.iter().take_while(fits).count()
    }
}

fn branches(state: &WatchState, frame: &Frame, palette: &Palette) -> Vec<Branch> {
    let deployment = &state.deployment;
    let id_width = deployment.nodes.keys().map(|id| id.as_str().len()).max();
    let leaf = |(id, node): (&NodeId, &NodeState)| {
        leaf(state, id, node, id_width.unwrap_or(0), frame, palette)
    };
    let mut by_stage: BTreeMap<Option<usize>, Vec<_>> = BTreeMap::new();
    let mut unchanged = Vec::new();
    for (id, node) in &deployment.nodes {
        match state.first_stages.get(id) {
            Some(stage) => by_stage.entry(*stage).or_default().push(leaf((id, node))),
            None => unchanged.push(leaf((id, node))),
        }
    }
    let mut branches = Vec::new();
    if let Some(leaves) = by_stage.remove(&None) {
        branches.push(Branch {
            lines: vec!["▶ without a stage".to_owned()],
            leaves,
        });
    }
    for index in 0..deployment.stages.len() {
        branches.push(Branch {
            lines: stage_lines(state, index, frame, palette),
            leaves: by_stage.remove(&Some(index)).unwrap_or_default(),
        });
    }
    if !unchanged.is_empty() {
        let line = if deployment.status().is_final() {
            "○ not changed"
        } else {
            "○ not yet"
        };
        branches.push(Branch {
            lines: vec![line.to_owned()],
            leaves: unchanged,
        });
    }
    branches
}

/// A stage's sign, name and duration.
fn stage_lines(state: &WatchState, index: usize, frame: &Frame, palette: &Palette) -> Vec<String> {
    let deployment = &state.deployment;
    let stage = &deployment.stages[index];
    let is_last = index + 1 == deployment.stages.len();
    let (sign, end) = match stage.ended_at {
        Some(end) if deployment.cause.is_some() && is_last => ('✘', end),
        Some(end) => ('✔', end),
        None => ('▶', frame.now),
    };
    let name = format::sanitize(&stage.name);
    let columns = frame.columns.saturating_sub(BRANCH_PREFIX);
    let seconds = end.since(stage.started_at).as_secs();
    if seconds == 0 {
        return wrap(&format!("{sign} {name}"), columns, "  ");
    }
    let duration = format::duration(Duration::from_secs(seconds));
    let mut lines = wrap(&format!("{sign} {name}  {duration}"), columns, "  ");
    if let Some(last) = lines.last_mut()
        && let Some(rest) = last.strip_suffix(&duration)
    {
        *last = format!("{rest}{}", palette.dim(&duration));
    }
    lines
}

/// A node: its phase, activity, versions, zone and error.
fn leaf(
    state: &WatchState,
    id: &NodeId,
    node: &NodeState,
    id_width: usize,
    frame: &Frame,
    palette: &Palette,
) -> Vec<String> {
    let activity = state.activity(id);
    let phase = format::phase(node.phase);
    let phase = match activity {
        Some(activity) if node.phase == NodePhase::Pending => activity.to_owned(),
        Some(activity) => format!("{phase}, {activity}"),
        None => phase,
    };
    let sign = match (node.phase, activity) {
        (NodePhase::Pending, Some(_)) => '◌',
        (phase, _) => format::phase_sign(phase),
    };
    let head = format!("{sign} {:id_width$}  {phase:<PHASE_WIDTH$}", id.as_str());
    let head_width = console::measure_text_width(&head) + 2;
    let head = palette.phase(&head, node.phase);
    let details = details(state, node);
    let columns = frame.columns.saturating_sub(LEAF_PREFIX);
    let details_width = columns.saturating_sub(head_width);
    if details_width < MIN_DETAILS_WIDTH {
        let below = wrap(&format!("    {details}"), columns, "    ");
        return std::iter::once(head).chain(below).collect();
    }
    let mut lines = wrap(&details, details_width, "");
    for (index, line) in lines.iter_mut().enumerate() {
        *line = if index == 0 {
            format!("{head}  {line}")
        } else {
            format!("{}{line}", " ".repeat(head_width))
        };
    }
    lines
}

fn details(state: &WatchState, node: &NodeState) -> String {
    let before = node
        .before
        .as_ref()
        .map_or_else(|| "nothing".to_owned(), |old| old.version.to_string());
    let new = &state.deployment.header.module;
    let versions = match node.phase {
        NodePhase::Pending | NodePhase::Reverted => before,
        NodePhase::Failed => match node.runs {
            KnownVersion::Before => before,
            KnownVersion::New => new.version.to_string(),
            KnownVersion::Unknown => format!("{before} or {}", new.version),
        },
        NodePhase::Staged | NodePhase::Shifted { .. } | NodePhase::Active => {
            format!("{before} → {}", new.version)
        }
    };
    let mut details = versions;
    for part in [
        node.zone.as_ref().map(ToString::to_string),
        node.error.as_ref().map(ToString::to_string),
    ]
    .into_iter()
    .flatten()
    {
        details.push_str("  ");
        details.push_str(&part);
    }
    format::sanitize(&details)
}
