//! A deployment as a tree of stages and nodes, at one moment.

use hotswap_core::Timestamp;

use super::state::WatchState;

mod head;
mod palette;
mod stages;
mod tail;

use palette::Palette;

/// The fewest lines that the stages get, whatever else there is to show.
const MIN_STAGE_LINES: usize = 3;

/// What a picture depends on besides the state.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The time on the engine's clock.
    pub now: Timestamp,
    /// Whether events arrive.
    pub connection: Connection,
    /// Whether to use colours. They never say anything that no word says.
    pub colours: bool,
    /// The lines that fit. Nodes are left out and counted to fit.
    pub rows: usize,
    /// The columns that fit. Longer lines are wrapped at words.
    pub columns: usize,
}

/// Whether the picture is up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// Events arrive.
    Live,
    /// The connection failed for this reason, and is retried.
    Reconnecting(String),
    /// The picture is of one moment, and does not change.
    Closed,
}

/// Draws the picture, line by line from the top.
pub fn render(state: &WatchState, frame: &Frame) -> Vec<String> {
    let palette = Palette::new(frame.colours);
    let mut lines = head::render(state, frame, &palette);
    let tail = tail::render(state, frame.columns, &palette);
    let free_rows = frame
        .rows
        .saturating_sub(lines.len() + tail.len() + 1)
        .max(MIN_STAGE_LINES);
    lines.push(String::new());
    lines.extend(stages::render(state, frame, &palette, free_rows));
    lines.extend(tail);
    lines
}
