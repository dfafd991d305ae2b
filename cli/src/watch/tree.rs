//! A deployment as a tree of waves and nodes: one picture of a moment.

use std::collections::BTreeMap;
use std::time::Duration;

use console::Style;
use hotswap_core::{Call, NodeId, NodePhase, NodeState, Status, Timestamp};

use super::story::Story;
use super::words;

/// How wide the bar is, in letters.
const BAR: usize = 30;

/// Lines of the strategy's log that are shown.
const LOG: usize = 4;

/// What a picture shows beside the story.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The time at the engine.
    pub now: Timestamp,
    /// Why nothing is heard of the engine, while that is so; nothing where nobody listens.
    pub link: Link,
    /// Whether to use colours. They never say anything that no word says.
    pub colours: bool,
    /// Lines that there is room for; the waves are folded to fit.
    pub rows: usize,
}

/// Whether the picture is of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Events come in.
    Live,
    /// They do not, for this reason, and it is tried again.
    Reconnecting(String),
    /// Nobody listens for more.
    Still,
}

/// The picture, line by line, from the top.
pub fn picture(story: &Story, frame: &Frame) -> Vec<String> {
    let paint = Paint(frame.colours);
    let mut lines = head(story, frame, &paint);
    let mut tail = checks(story, &paint);
    tail.extend(log(story, &paint));
    tail.extend(end(story, &paint));
    let room = frame
        .rows
        .saturating_sub(lines.len() + tail.len() + 1)
        .max(3);
    lines.push(String::new());
    lines.extend(waves(story, frame, &paint, room));
    lines.extend(tail);
    lines
}

fn head(story: &Story, frame: &Frame, paint: &Paint) -> Vec<String> {
    let state = &story.state;
    let (header, status) = (&state.header, state.status());
    let title = format!("{} → {}", header.module, header.environment);
    let word = format!("{} {}", words::status_sign(status), words::status(status));
    let title = format!("{}   {}", paint.bold(&title), paint.status(&word, status));
    let stage = state.stages.last().map_or_else(String::new, |stage| {
        format!(
            " · stage {}: {}",
            state.stages.len(),
            words::clean(&stage.name)
        )
    });
    let by = format!(
        "strategy {} {}{stage}",
        header.strategy.name, header.strategy.version
    );
    let filled = BAR * usize::from(state.progress.min(100)) / 100;
    let bar = format!("[{}{}]", "█".repeat(filled), "░".repeat(BAR - filled));
    let mut lines = vec![
        title,
        by,
        format!("{bar} {:>3} %{}", state.progress, doing(story, frame)),
    ];
    let ago = words::span(Duration::from_secs(
        frame.now.since(state.updated_at).as_secs(),
    ));
    let ago = if ago == "0ms" {
        "just now".to_owned()
    } else {
        format!("{ago} ago")
    };
    match &frame.link {
        Link::Live if !status.is_final() => {
            lines.push(paint.dim(&format!("live, last event {ago} · {}", header.id)));
        }
        Link::Reconnecting(why) => {
            let line = format!("! reconnecting, last event {ago}: {}", words::clean(why));
            lines.push(paint.warn(&line));
        }
        Link::Live | Link::Still => lines.push(paint.dim(&header.id.to_string())),
    }
    if let Some(question) = &state.question {
        let due = state
            .waiting_until
            .map_or_else(String::new, |due| format!(" (until {})", words::clock(due)));
        lines.push(String::new());
        let question = format!("? YOUR DECISION: {}{due}", words::clean(question));
        lines.push(paint.loud(&question));
        let id = header.id;
        lines.push(format!("  hotswap approve {id}"));
        lines.push(format!("  hotswap reject {id}"));
    }
    lines
}

/// What the strategy waits for, and how long still.
fn doing(story: &Story, frame: &Frame) -> String {
    let state = &story.state;
    if state.status() == Status::Paused {
        return format!("   held: hotswap resume {}", state.header.id);
    }
    let what = match &story.open {
        Some(Call::Soak { canary, .. }) => {
            format!("watching {}", words::count(canary.len(), "node"))
        }
        Some(Call::Sleep { .. }) => "waiting".to_owned(),
        _ => return String::new(),
    };
    let left = state
        .waiting_until
        .map(|due| due.since(frame.now).as_secs());
    let left = left.map_or_else(String::new, |left| {
        format!(", {} left", words::span(Duration::from_secs(left.max(1))))
    });
    format!("   {what}{left}")
}

/// A branch of the tree: its line, and the nodes below it.
struct Branch<'a> {
    line: String,
    nodes: Vec<(&'a NodeId, &'a NodeState)>,
}

fn waves(story: &Story, frame: &Frame, paint: &Paint, room: usize) -> Vec<String> {
    let branches = branches(story, frame, paint);
    let leaves: usize = branches.iter().map(|branch| branch.nodes.len()).sum();
    let space = room.saturating_sub(branches.len());
    // Where not all nodes fit, each branch gets its share and counts the rest.
    let share = if leaves <= space {
        usize::MAX
    } else {
        (space / branches.len().max(1)).max(1)
    };
    let width = story
        .state
        .nodes
        .keys()
        .map(|id| id.as_str().len())
        .max()
        .unwrap_or(0);
    let last = branches.len().saturating_sub(1);
    let mut lines = Vec::new();
    for (place, branch) in branches.into_iter().enumerate() {
        let (knee, trunk) = if place == last {
            ("└─", "  ")
        } else {
            ("├─", "│ ")
        };
        lines.push(format!("{knee} {}", branch.line));
        let shown = if branch.nodes.len() <= share {
            branch.nodes.len()
        } else {
            share - 1
        };
        let rest = branch.nodes.len() - shown;
        for (leaf, (id, node)) in branch.nodes.into_iter().take(shown).enumerate() {
            let knee = if leaf + 1 == shown && rest == 0 {
                "└─"
            } else {
                "├─"
            };
            lines.push(format!(
                "{trunk} {knee} {}",
                self::node(story, id, node, width, paint)
            ));
        }
        if rest > 0 {
            lines.push(paint.dim(&format!("{trunk} └─ … {} more", rest)));
        }
    }
    lines
}

fn branches<'a>(story: &'a Story, frame: &Frame, paint: &Paint) -> Vec<Branch<'a>> {
    let state = &story.state;
    let mut by_wave: BTreeMap<Option<usize>, Vec<_>> = BTreeMap::new();
    let mut untouched = Vec::new();
    for (id, node) in &state.nodes {
        match story.waves.get(id) {
            Some(wave) => by_wave.entry(*wave).or_default().push((id, node)),
            None => untouched.push((id, node)),
        }
    }
    let mut branches = Vec::new();
    if let Some(nodes) = by_wave.remove(&None) {
        branches.push(Branch {
            line: "▶ without a stage".to_owned(),
            nodes,
        });
    }
    for (place, stage) in state.stages.iter().enumerate() {
        let (sign, end) = match stage.ended_at {
            Some(end) => (
                if state.cause.is_some() && place + 1 == state.stages.len() {
                    '✘'
                } else {
                    '✔'
                },
                end,
            ),
            None => ('▶', frame.now),
        };
        let took = words::span(Duration::from_secs(end.since(stage.started_at).as_secs()));
        let took = if took == "0ms" {
            String::new()
        } else {
            paint.dim(&format!("  {took}"))
        };
        let nodes = by_wave.remove(&Some(place)).unwrap_or_default();
        branches.push(Branch {
            line: format!("{sign} {}{took}", words::clean(&stage.name)),
            nodes,
        });
    }
    if !untouched.is_empty() {
        let line = if state.status().is_final() {
            "○ not touched"
        } else {
            "○ not yet"
        };
        branches.push(Branch {
            line: line.to_owned(),
            nodes: untouched,
        });
    }
    branches
}

fn node(story: &Story, id: &NodeId, node: &NodeState, width: usize, paint: &Paint) -> String {
    let header = &story.state.header;
    let before = node
        .before
        .as_ref()
        .map_or_else(|| "nothing".to_owned(), |old| old.version.to_string());
    let versions = match node.phase {
        NodePhase::Pending | NodePhase::Reverted | NodePhase::Failed => before,
        _ => format!("{before} → {}", header.module.version),
    };
    let word = words::phase(node.phase);
    let word = match story.doing(id) {
        Some(doing) if node.phase == NodePhase::Pending => doing.to_owned(),
        Some(doing) => format!("{word}, {doing}"),
        None => word,
    };
    let sign = match (node.phase, story.doing(id)) {
        (NodePhase::Pending, Some(_)) => '◌',
        (phase, _) => words::phase_sign(phase),
    };
    let state = paint.phase(
        &format!("{sign} {:width$}  {word:<18}", id.as_str()),
        node.phase,
    );
    let zone = node
        .zone
        .as_ref()
        .map_or_else(String::new, |zone| format!("  {zone}"));
    let error = node
        .error
        .as_ref()
        .map_or_else(String::new, |error| format!("  {error}"));
    format!(
        "{state}  {}",
        words::clean(&format!("{versions}{zone}{error}"))
    )
}

fn checks(story: &Story, paint: &Paint) -> Vec<String> {
    if story.state.findings.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), paint.bold("checks of the last watch")];
    let findings = story.state.findings.iter();
    lines.extend(findings.map(|finding| format!("  {}", words::clean(&words::finding(finding)))));
    lines
}

fn log(story: &Story, paint: &Paint) -> Vec<String> {
    let log = &story.state.log;
    if log.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), paint.bold("log")];
    let last = log.iter().skip(log.len().saturating_sub(LOG));
    lines.extend(last.map(|line| {
        format!(
            "  {}  {}",
            words::clock(line.at),
            words::clean(&line.message)
        )
    }));
    lines
}

fn end(story: &Story, paint: &Paint) -> Vec<String> {
    let state = &story.state;
    let mut lines = Vec::new();
    if let Some(cause) = &state.cause {
        lines.push(String::new());
        lines.push(paint.loud(&format!("✘ because {}", words::clean(&cause.message))));
    }
    for failure in &state.failures {
        let line = format!("✘ {}: {}", failure.node, failure.error);
        lines.push(paint.warn(&words::clean(&line)));
    }
    if let Some(ended) = state.ended_at {
        let status = state.status();
        let (word, span) = (
            words::status(status),
            words::span(ended.since(state.created_at)),
        );
        let line = format!("{} {word} after {span}", words::status_sign(status));
        lines.push(String::new());
        lines.push(paint.status(&line, status));
    }
    lines
}

/// Colours, if they are wanted.
struct Paint(bool);

impl Paint {
    fn with(&self, text: &str, style: Style) -> String {
        if self.0 {
            style.force_styling(true).apply_to(text).to_string()
        } else {
            text.to_owned()
        }
    }

    fn bold(&self, text: &str) -> String {
        self.with(text, Style::new().bold())
    }

    fn dim(&self, text: &str) -> String {
        self.with(text, Style::new().dim())
    }

    fn warn(&self, text: &str) -> String {
        self.with(text, Style::new().yellow())
    }

    fn loud(&self, text: &str) -> String {
        self.with(text, Style::new().yellow().bold())
    }

    fn status(&self, text: &str, status: Status) -> String {
        self.with(
            text,
            match status {
                Status::Pending | Status::Running => Style::new().cyan(),
                Status::AwaitingApproval | Status::Paused | Status::RollingBack => {
                    Style::new().yellow().bold()
                }
                Status::Succeeded => Style::new().green().bold(),
                Status::RolledBack | Status::Failed => Style::new().magenta().bold(),
            },
        )
    }

    fn phase(&self, text: &str, phase: NodePhase) -> String {
        self.with(
            text,
            match phase {
                NodePhase::Pending => Style::new().dim(),
                NodePhase::Staged | NodePhase::Shifted { .. } => Style::new().cyan(),
                NodePhase::Active => Style::new().green(),
                NodePhase::Reverted | NodePhase::Failed => Style::new().magenta(),
            },
        )
    }
}
