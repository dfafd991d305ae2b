use anyhow::Result;

use super::Show;
use super::screen::Screen;
use super::session::Session;
use super::tree::{self, Connection, Frame};
use crate::client::RecordedEvent;
use crate::output::Output;

/// Where and how events are shown.
pub(super) enum View {
    /// A tree on the terminal, redrawn in place. The screen is gone once it is finished.
    Tree {
        screen: Option<Screen>,
        colours: bool,
    },
    /// Lines of text.
    Lines(Output),
    /// The events after the one with this number, as lines of text or a JSON object a line.
    Events { out: Output, after: Option<u64> },
    /// Nothing.
    Nothing,
}

impl View {
    /// Chooses the view that fits standard output.
    pub(super) fn new(show: Show, out: Output) -> Self {
        match show {
            Show::Events { after } => Self::Events { out, after },
            // With `--json`, standard output holds one object, which tells the outcome.
            Show::Outcome => Self::Nothing,
            Show::Everything if out.json => Self::Nothing,
            Show::Everything if out.terminal => Self::Tree {
                screen: Some(Screen::new()),
                colours: out.colours,
            },
            Show::Everything => Self::Lines(out),
        }
    }

    pub(super) fn is_tree(&self) -> bool {
        matches!(self, Self::Tree { .. })
    }

    /// Prints an event, where events are printed one by one.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub(super) fn show_event(&self, recorded: &RecordedEvent, lines: &[String]) -> Result<()> {
        match self {
            Self::Events { after, .. }
                if after.is_some_and(|after| recorded.event.seq <= after) =>
            {
                Ok(())
            }
            Self::Events { out, .. } if out.json => out.json_line(&recorded.json),
            Self::Lines(out) | Self::Events { out, .. } => {
                lines.iter().try_for_each(|line| out.line(line))
            }
            Self::Tree { .. } | Self::Nothing => Ok(()),
        }
    }

    /// Prints lines that belong to no event, where lines are printed.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub(super) fn show_lines(&self, lines: &[String]) -> Result<()> {
        match self {
            Self::Lines(out) => lines.iter().try_for_each(|line| out.line(line)),
            Self::Tree { .. } | Self::Events { .. } | Self::Nothing => Ok(()),
        }
    }

    /// Draws the tree as it is now.
    ///
    /// # Errors
    /// Where the terminal is closed.
    pub(super) fn redraw(&mut self, session: &Session) -> Result<()> {
        let Self::Tree { screen, colours } = self else {
            return Ok(());
        };
        let (Some(screen), Some(state)) = (screen, &session.state) else {
            return Ok(());
        };
        let frame = Frame {
            now: session.now(),
            connection: match &session.disconnected {
                Some(reason) => Connection::Reconnecting(reason.clone()),
                None => Connection::Live,
            },
            colours: *colours,
            rows: screen.rows(),
            columns: screen.columns(),
        };
        Ok(screen.draw(&tree::render(state, &frame))?)
    }

    /// Draws the tree a last time, and leaves it on the terminal.
    ///
    /// # Errors
    /// Where the terminal is closed.
    pub(super) fn finish(&mut self, session: &Session) -> Result<()> {
        let Self::Tree { screen, colours } = self else {
            return Ok(());
        };
        let (Some(screen), Some(state)) = (screen.take(), &session.state) else {
            return Ok(());
        };
        let frame = Frame {
            now: session.now(),
            connection: Connection::Closed,
            colours: *colours,
            rows: usize::MAX,
            columns: screen.columns(),
        };
        Ok(screen.finish(&tree::render(state, &frame))?)
    }
}
