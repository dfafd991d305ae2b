//! Following a deployment until it has ended, shown as a tree, as lines, as records or
//! not at all.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hotswap_core::{Clock as _, DeploymentId, Event, Status, SystemClock, Timestamp};
use tokio::time::Instant;

use crate::args::Patience;
use crate::client::{Client, Recorded};
use crate::exit::Exit;
use crate::output::{Output, say};

mod follow;
pub mod lines;
mod screen;
mod story;
pub mod tree;
pub mod words;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use follow::{Follower, News};
use screen::Screen;
pub use story::Story;

/// How the events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Whatever fits standard output: a tree on a terminal, lines elsewhere, records
    /// with `--json`.
    Everything,
    /// Nothing until the end, and then how it ended.
    Outcome,
}

/// Follows a deployment until it has ended, time is up, a person has to decide or
/// somebody presses Ctrl-C. The deployment goes on in each case.
///
/// # Errors
/// Where the engine refuses, or standard output is gone.
pub async fn watch(
    client: &Client,
    id: DeploymentId,
    show: Show,
    patience: Patience,
    out: Output,
) -> Result<Exit> {
    let mut view = View::new(show, out);
    let mut follower = Follower::new(client.clone(), id);
    let mut watched = Watched::default();
    let deadline = patience.timeout.map(|timeout| Instant::now() + timeout);
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    // A person at the terminal sees the question, and may decide elsewhere.
    let stays = patience.through_approval || (view.is_tree() && show == Show::Everything);
    let exit = loop {
        tokio::select! {
            news = follower.next() => match news {
                Some(News::Events(events)) => {
                    watched.take(&events, &view)?;
                    view.redraw(&watched)?;
                    if let Some(exit) = watched.exit(stays) {
                        break exit;
                    }
                }
                Some(News::UpToDate) => {
                    watched.heard();
                    watched.live = true;
                    view.redraw(&watched)?;
                    if let Some(exit) = watched.exit(stays) {
                        break exit;
                    }
                }
                Some(News::Cut(error)) => {
                    watched.lost(&error.to_string(), view.is_tree());
                    view.redraw(&watched)?;
                }
                Some(News::Refused(error)) => return Err(error.into()),
                None => anyhow::bail!("the events of deployment {id} ended before it did"),
            },
            _ = second.tick(), if view.is_tree() => view.redraw(&watched)?,
            () = until(deadline) => break Exit::Timeout,
            _ = &mut interrupt => break Exit::Interrupted,
        }
    };
    view.finish(&watched)?;
    if show == Show::Outcome && matches!(exit, Exit::Success | Exit::NotSucceeded) {
        outcome(client, id, &watched, out).await?;
    }
    for line in farewell(exit, id, watched.story.as_ref(), patience) {
        say(&line);
    }
    Ok(exit)
}

/// Waits until a deployment has ended, without a word. Safe to cancel.
///
/// # Errors
/// Where the engine refuses.
pub async fn end(client: &Client, id: DeploymentId) -> Result<Story> {
    let mut follower = Follower::new(client.clone(), id);
    let mut watched = Watched::default();
    loop {
        match follower.next().await {
            Some(News::Events(events)) => watched.take(&events, &View::Nothing)?,
            Some(News::UpToDate | News::Cut(_)) => {}
            Some(News::Refused(error)) => return Err(error.into()),
            None => {
                return watched
                    .story
                    .with_context(|| format!("deployment {id} has no events"));
            }
        }
    }
}

/// A deployment as it is now, read from its events.
///
/// # Errors
/// Where the engine refuses or cannot be reached.
pub async fn read(client: &Client, id: DeploymentId) -> Result<Story> {
    let mut watched = Watched::default();
    loop {
        let after = watched.story.as_ref().map(|story| story.state.next_seq - 1);
        let events = client.events(id, after).await?;
        if events.is_empty() {
            return watched
                .story
                .with_context(|| format!("deployment {id} has no events"));
        }
        watched.take(&events, &View::Nothing)?;
    }
}

/// A whole picture of a deployment that nobody follows.
pub fn still(story: &Story, colours: bool) -> Vec<String> {
    let frame = tree::Frame {
        now: SystemClock.now(),
        link: tree::Link::Still,
        colours,
        rows: usize::MAX,
    };
    tree::picture(story, &frame)
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn outcome(client: &Client, id: DeploymentId, watched: &Watched, out: Output) -> Result<()> {
    if out.json {
        return out.value(&client.deployment(id).await?);
    }
    watched.last.iter().try_for_each(|line| out.line(line))
}

/// What there is to say when the watching ends, on standard error.
fn farewell(
    exit: Exit,
    id: DeploymentId,
    story: Option<&Story>,
    patience: Patience,
) -> Vec<String> {
    let state = story.map(|story| &story.state);
    match exit {
        Exit::Interrupted => vec![
            "interrupted; the deployment goes on".to_owned(),
            format!("  next: hotswap watch {id}, or hotswap abort {id}"),
        ],
        Exit::Timeout => {
            let time = patience.timeout.map_or_else(String::new, words::span);
            let mut line = format!("not ended after {time}; the deployment goes on");
            if let (Some(story), Some(state)) = (story, state) {
                let stage = state.stages.last().map_or_else(String::new, |stage| {
                    format!(", stage {}", words::clean(&stage.name))
                });
                let missing = words::names(story.missing());
                line = format!(
                    "{line}: {}{stage}, not updated: {missing}",
                    words::status(state.status())
                );
            }
            vec![
                line,
                format!("  next: hotswap watch {id}, or hotswap abort {id}"),
            ]
        }
        Exit::AwaitingApproval => {
            let question = state
                .and_then(|state| state.question.as_deref())
                .unwrap_or("go on?");
            vec![
                format!("a person has to decide: {}", words::clean(question)),
                format!(
                    "  next: hotswap approve {id}, or hotswap reject {id}; then hotswap watch {id}"
                ),
            ]
        }
        Exit::Success | Exit::NotSucceeded | Exit::Failure | Exit::Usage => Vec::new(),
    }
}

/// What has been heard of a deployment.
#[derive(Default)]
struct Watched {
    story: Option<Story>,
    /// The lines of the last event that had any.
    last: Vec<String>,
    /// Why the engine cannot be heard.
    cut: Option<String>,
    /// Whether all that is there has been read: what comes has just happened.
    live: bool,
    /// How far the engine's clock is ahead of ours, in milliseconds.
    ahead: i64,
}

impl Watched {
    fn status(&self) -> Option<Status> {
        self.story.as_ref().map(|story| story.state.status())
    }

    /// How the watching ends now, where it does: with the deployment, or with a question
    /// that is open still, where nobody stays through that.
    fn exit(&self, stays: bool) -> Option<Exit> {
        match self.status()? {
            Status::Succeeded => Some(Exit::Success),
            Status::AwaitingApproval => (self.live && !stays).then_some(Exit::AwaitingApproval),
            status => status.is_final().then_some(Exit::NotSucceeded),
        }
    }

    /// Takes events in and shows them.
    fn take(&mut self, events: &[Recorded], view: &View) -> Result<()> {
        for recorded in events {
            let lines = lines::of(self.story.as_ref(), &recorded.event);
            self.tell(&recorded.event)?;
            view.event(recorded, &lines)?;
            if !lines.is_empty() {
                self.last = lines;
            }
        }
        if let (true, Some(last)) = (self.live, events.last()) {
            // It has just happened: what its clock says now is what ours says now.
            let (theirs, ours) = (last.event.at.millis(), SystemClock.now().millis());
            self.ahead = theirs.cast_signed().saturating_sub(ours.cast_signed());
        }
        self.heard();
        Ok(())
    }

    fn tell(&mut self, event: &Event) -> Result<()> {
        let taken = match &mut self.story {
            None => Story::begin(event).map(|story| self.story = Some(story)),
            Some(story) => story.take(event),
        };
        taken.with_context(|| {
            format!(
                "event {} does not fit; is the engine of another version?",
                event.seq
            )
        })
    }

    fn heard(&mut self) {
        if self.cut.take().is_some() {
            tracing::debug!("the engine answers again");
        }
    }

    /// Says once that the engine cannot be heard; the picture shows it by itself.
    fn lost(&mut self, why: &str, shown: bool) {
        if self.cut.is_none() && !shown {
            say(&format!("reconnecting: {}", words::clean(why)));
        }
        self.cut = Some(why.to_owned());
        self.live = false;
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(SystemClock.now().millis().saturating_add_signed(self.ahead))
    }
}

/// Where events are shown.
enum View {
    Tree(Option<Screen>, bool),
    Lines(Output),
    Records(Output),
    Nothing,
}

impl View {
    fn new(show: Show, out: Output) -> Self {
        match (show, out.json, out.terminal) {
            (Show::Outcome, _, _) => Self::Nothing,
            (Show::Everything, true, _) => Self::Records(out),
            (Show::Everything, false, true) => Self::Tree(Some(Screen::new()), out.colours),
            (Show::Everything, false, false) => Self::Lines(out),
        }
    }

    fn is_tree(&self) -> bool {
        matches!(self, Self::Tree(..))
    }

    fn event(&self, recorded: &Recorded, lines: &[String]) -> Result<()> {
        match self {
            Self::Lines(out) => lines.iter().try_for_each(|line| out.line(line)),
            Self::Records(out) => out.record(&recorded.json),
            Self::Tree(..) | Self::Nothing => Ok(()),
        }
    }

    fn redraw(&mut self, watched: &Watched) -> Result<()> {
        let (Self::Tree(Some(screen), colours), Some(story)) = (self, &watched.story) else {
            return Ok(());
        };
        let link = watched
            .cut
            .clone()
            .map_or(tree::Link::Live, tree::Link::Reconnecting);
        let frame = tree::Frame {
            now: watched.now(),
            link,
            colours: *colours,
            rows: screen.rows(),
        };
        Ok(screen.draw(&tree::picture(story, &frame))?)
    }

    /// Leaves the last picture on the terminal.
    fn finish(&mut self, watched: &Watched) -> Result<()> {
        let (Self::Tree(screen, colours), Some(story)) = (self, &watched.story) else {
            return Ok(());
        };
        let frame = tree::Frame {
            now: watched.now(),
            link: tree::Link::Still,
            colours: *colours,
            rows: usize::MAX,
        };
        match screen.take() {
            Some(screen) => Ok(screen.finish(&tree::picture(story, &frame))?),
            None => Ok(()),
        }
    }
}
