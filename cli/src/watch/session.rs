use anyhow::{Context as _, Result};
use hotswap_core::{Clock as _, Event, Status, SystemClock, Timestamp};
use tokio::time::Instant;

use super::lines;
use super::soak_lines::SoakLines;
use super::state::WatchState;
use crate::client::{RecordedEvent, SoakReport};
use crate::exit::Exit;
use crate::format;
use crate::output::print_message;

/// The state of a deployment while it is watched.
#[derive(Default)]
pub(super) struct Session {
    /// The deployment's state; `None` before the first event.
    pub(super) state: Option<WatchState>,
    /// The lines of the last event that has any.
    pub(super) last_lines: Vec<String>,
    /// Why the connection failed, until it is back.
    pub(super) disconnected: Option<String>,
    /// Whether all past events have been read: further ones have just happened.
    pub(super) live: bool,
    /// Since when the deployment is paused, as far as this session has seen.
    pub(super) paused_since: Option<Instant>,
    /// What the lines last said about the running soak.
    soak_lines: SoakLines,
    /// How far the engine's clock is ahead of ours, in milliseconds.
    clock_offset: i64,
}

impl Session {
    /// The deployment's status.
    pub(super) fn status(&self) -> Option<Status> {
        self.state.as_ref().map(|state| state.deployment.status())
    }

    /// How watching ends now, if it does: because the deployment has ended, or because a
    /// person has to decide and `wait_for_decision` is false.
    pub(super) fn exit(&self, wait_for_decision: bool) -> Option<Exit> {
        match self.status()? {
            // The policy allows that some nodes were not updated.
            Status::Succeeded | Status::Partial => Some(Exit::Success),
            Status::AwaitingApproval => {
                (self.live && !wait_for_decision).then_some(Exit::AwaitingApproval)
            }
            status => status.is_final().then_some(Exit::NotSucceeded),
        }
    }

    /// Notes what the judge thinks of the soak that is under way, and which soaks cannot decide.
    /// Returns the lines that say so, where lines are due.
    pub(super) fn set_soak(&mut self, soak: SoakReport) -> Vec<String> {
        let time = format::time_of_day(self.now());
        let state = self.state.as_mut();
        let Some(state) = state.filter(|state| state.is_soaking()) else {
            return Vec::new();
        };
        state.live_findings = soak.findings;
        let known = std::mem::replace(&mut state.warnings, soak.warnings);
        let new = state.warnings.iter().filter(|one| !known.contains(one));
        let new = new.map(|warning| format!("{time}  {}", format::soak_warning(warning)));
        let mut lines: Vec<_> = new.collect();
        lines.extend(self.soak_lines.describe(&time, &state.live_findings));
        lines
    }

    /// Applies the next events. Calls `show` with each event and the lines that describe it.
    ///
    /// # Errors
    /// Where an event does not fit, or `show` fails.
    pub(super) fn apply(
        &mut self,
        events: &[RecordedEvent],
        show: impl Fn(&RecordedEvent, &[String]) -> Result<()>,
    ) -> Result<()> {
        for recorded in events {
            let lines = lines::describe(self.state.as_ref(), &recorded.event);
            self.apply_event(&recorded.event)?;
            if !self.state.as_ref().is_some_and(WatchState::is_soaking) {
                self.soak_lines.reset();
            }
            show(recorded, &lines)?;
            if !lines.is_empty() {
                self.last_lines = lines;
            }
        }
        if let (true, Some(last)) = (self.live, events.last()) {
            // The event has just happened: its time is the engine's time now.
            let (engine, ours) = (last.event.at.millis(), SystemClock.now().millis());
            self.clock_offset = engine.cast_signed().saturating_sub(ours.cast_signed());
        }
        self.paused_since = match self.status() {
            Some(Status::Paused) => self.paused_since.or_else(|| Some(Instant::now())),
            _ => None,
        };
        self.set_connected();
        Ok(())
    }

    /// Notes that all past events have been read.
    pub(super) fn set_live(&mut self) {
        self.set_connected();
        self.live = true;
    }

    /// Notes that the connection failed. Prints the reason once, unless the view shows it.
    pub(super) fn set_disconnected(&mut self, reason: &str, view_shows_it: bool) {
        if self.disconnected.is_none() && !view_shows_it {
            print_message(&format!("reconnecting: {}", format::sanitize(reason)));
        }
        self.disconnected = Some(reason.to_owned());
        self.live = false;
    }

    /// Forgets the deployment: its events come again from the first. Says so, unless the view
    /// shows it.
    pub(super) fn start_over(&mut self, view_shows_it: bool) {
        if self.state.take().is_some() && !view_shows_it {
            print_message(
                "the store is another one, or has lost events: this is the deployment from its \
                 beginning",
            );
        }
        self.last_lines.clear();
        self.paused_since = None;
        self.live = false;
    }

    /// The time on the engine's clock.
    pub(super) fn now(&self) -> Timestamp {
        let now = SystemClock.now().millis();
        Timestamp::from_millis(now.saturating_add_signed(self.clock_offset))
    }

    fn apply_event(&mut self, event: &Event) -> Result<()> {
        let applied = match &mut self.state {
            None => WatchState::begin(event).map(|state| self.state = Some(state)),
            Some(state) => state.apply(event),
        };
        applied.with_context(|| {
            format!(
                "event {} does not fit; is the engine of another version?",
                event.seq
            )
        })
    }

    fn set_connected(&mut self) {
        if self.disconnected.take().is_some() {
            tracing::debug!("connected again");
        }
    }
}
