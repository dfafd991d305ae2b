use console::Style;
use hotswap_core::{NodePhase, Status};

/// Colours texts, where colours are wanted.
pub(super) struct Palette {
    enabled: bool,
}

impl Palette {
    pub(super) fn new(enabled: bool) -> Self {
        Self { enabled }
    }

    pub(super) fn bold(&self, text: &str) -> String {
        self.apply(text, Style::new().bold())
    }

    pub(super) fn dim(&self, text: &str) -> String {
        self.apply(text, Style::new().dim())
    }

    pub(super) fn warning(&self, text: &str) -> String {
        self.apply(text, Style::new().yellow())
    }

    pub(super) fn important(&self, text: &str) -> String {
        self.apply(text, Style::new().yellow().bold())
    }

    pub(super) fn status(&self, text: &str, status: Status) -> String {
        self.apply(
            text,
            match status {
                Status::Pending | Status::Running => Style::new().cyan(),
                Status::AwaitingApproval
                | Status::Paused
                | Status::RollingBack
                | Status::Partial => Style::new().yellow().bold(),
                Status::Succeeded => Style::new().green().bold(),
                Status::RolledBack | Status::Failed => Style::new().magenta().bold(),
            },
        )
    }

    pub(super) fn phase(&self, text: &str, phase: NodePhase) -> String {
        self.apply(
            text,
            match phase {
                NodePhase::Pending => Style::new().dim(),
                NodePhase::Staged | NodePhase::Shifted { .. } => Style::new().cyan(),
                NodePhase::Active => Style::new().green(),
                NodePhase::Reverted | NodePhase::Failed => Style::new().magenta(),
            },
        )
    }

    fn apply(&self, text: &str, style: Style) -> String {
        if self.enabled {
            style.force_styling(true).apply_to(text).to_string()
        } else {
            text.to_owned()
        }
    }
}
