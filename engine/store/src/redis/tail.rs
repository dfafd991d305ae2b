//! Follows the log of appends, whichever engine made them.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, RedisError, Value, cmd};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::commands::Commands;
use super::config::RedisConfig;
use super::durability::{Durability, Wait, text};
use super::error::Error;
use super::head_cache::HeadCache;
use super::link::Link;
use super::place::Place;
use super::witness::Witness;
use crate::metrics::TAIL;
use crate::{Appended, EnvironmentAppended, Head};

/// How long the server waits for an append before it answers that there was none. A connection
/// that is dead without a word is noticed that much later.
pub(super) const BLOCK: Duration = Duration::from_secs(2);

/// How long a reading may take in which nothing is wrong: the server waits, and then a machine may
/// be busy. A lag is shown only from here on.
const READ_PATIENCE: Duration = Duration::from_secs(BLOCK.as_secs() + 1);

/// Entries that are read at once.
const PAGE: usize = 512;

/// How often it is asked whether the server is still the same, and has what was seen. Behind a
/// connection that does not break there may be another server too, or one that was emptied.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// How often it is asked what the server promises. Its configuration can change while it runs.
const DURABILITY_INTERVAL: Duration = Duration::from_secs(10);

/// Reads the log from a place on, and notifies the subscribers of this engine.
pub(super) struct Tail {
    pub(super) link: Arc<Link>,
    pub(super) commands: Commands,
    /// The place of the last entry that was read.
    pub(super) last: Place,
    pub(super) config: RedisConfig,
    /// What the server promised when this engine started.
    pub(super) promised: Durability,
    /// What it has promised since, and when it was asked.
    pub(super) durability: Durability,
    pub(super) asked_at: Instant,
    /// What it promises no more.
    pub(super) lost_durability: watch::Sender<Option<String>>,
    /// What the writer waits for.
    pub(super) wait: watch::Sender<Option<Wait>>,
    pub(super) witness: Arc<Witness>,
    pub(super) heads: Arc<HeadCache>,
    pub(super) subscribers: broadcast::Sender<Appended>,
    pub(super) environment_subscribers: broadcast::Sender<EnvironmentAppended>,
}

/// What an entry of the log says.
enum Entry {
    Deployment(Appended),
    Environment(EnvironmentAppended),
    Epoch(String),
    /// What a later release has written.
    Unknown,
}

/// The lag counts while this lives.
struct Follows;

impl Follows {
    fn begin() -> Self {
        TAIL.is_at_end(READ_PATIENCE);
        Self
    }
}

impl Drop for Follows {
    fn drop(&mut self) {
        TAIL.ended();
    }
}

impl Tail {
    /// Follows the log until it is dropped. Cancel safe. A connection that breaks loses nothing:
    /// the next one reads on from the same place.
    pub(super) async fn run(mut self) {
        let mut backoff = Link::backoff();
        let mut checked_at = Instant::now();
        let _follows = Follows::begin();
        loop {
            let read = match checked_at.elapsed() < CHECK_INTERVAL {
                true => self.read().await,
                false => {
                    checked_at = Instant::now();
                    self.check().await
                }
            };
            match read {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    tracing::debug!(%error, "cannot follow the store's log, retrying");
                    backoff.wait().await;
                }
            }
        }
    }

    async fn read(&mut self) -> Result<(), RedisError> {
        let answer = self.link.send(&self.command()).await?;
        // What was read may be of a store that has lost writes.
        if self.rewind() {
            return Ok(());
        }
        let entries = entries(answer);
        let is_at_end = entries.len() < PAGE;
        for (place, fields) in entries {
            let read = place.parse::<Place>().map_err(|_| MISSING);
            match read.and_then(|place| Ok((place, parse(place, &fields)?))) {
                Ok((place, entry)) => {
                    self.witness.saw_entry(place, &fields);
                    self.publish(entry);
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(place, error, "cannot read the store's log");
                }
            }
            self.last = place.parse().unwrap_or(self.last);
        }
        if is_at_end {
            TAIL.is_at_end(READ_PATIENCE);
        }
        Ok(())
    }

    /// Asks whether the server is still the same, has what was seen, and promises what it did.
    async fn check(&mut self) -> Result<(), RedisError> {
        self.link.check().await?;
        self.rewind();
        let mut command = cmd("INFO");
        command.arg("server");
        let info = text(self.link.send(&command).await?);
        let run_id = run_id(&info);
        let is_same_server = run_id == self.durability.run_id;
        if is_same_server && self.asked_at.elapsed() < DURABILITY_INTERVAL {
            return Ok(());
        }
        let server = self.config.shown_url();
        if !is_same_server {
            tracing::info!(server, "the server was started again, or is another one");
        }
        match Durability::read(&self.link, &self.config).await {
            Ok(durability) => {
                self.asked_at = Instant::now();
                if durability != self.durability {
                    self.take_over(durability, &server);
                }
            }
            // The next check asks again.
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "cannot read what the store promises");
            }
        }
        Ok(())
    }

    /// Says what the server promises from now on.
    fn take_over(&mut self, durability: Durability, server: &str) {
        if let Err(error) = durability.check(&self.config, server) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "the store may lose what it acknowledges from now on");
        }
        self.wait_as_promised(&durability, server);
        let lost = durability.lost_since(&self.promised, &self.config);
        self.lost_durability.send_replace(lost);
        self.durability = durability;
    }

    /// Lets the writer wait for what the configuration requires and this server does not do by
    /// itself.
    fn wait_as_promised(&self, durability: &Durability, server: &str) {
        let wait = durability.wait(&self.config);
        let has_changed = self.wait.send_if_modified(|current| {
            let has_changed = *current != wait;
            if has_changed {
                current.clone_from(&wait);
            }
            has_changed
        });
        if has_changed {
            let disks = wait.as_ref().and_then(|wait| wait.disks).unwrap_or(0);
            let replicas = wait.as_ref().map_or(0, |wait| wait.replicas);
            tracing::info!(
                server,
                disks,
                replicas,
                "appends wait for other disks from now on, because the server promises something else"
            );
        }
    }

    /// Goes back in the log, where what was read there may be other entries now.
    fn rewind(&mut self) -> bool {
        let Some(place) = self.witness.take_rewind() else {
            return false;
        };
        self.last = self.last.min(place);
        true
    }

    fn command(&self) -> Cmd {
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(PAGE);
        command.arg("BLOCK").arg(BLOCK.as_secs() * 1000);
        command.arg("STREAMS");
        command
            .arg(self.commands.key("log"))
            .arg(self.last.to_string());
        command
    }

    /// Fails where nobody has subscribed.
    fn publish(&self, entry: Entry) {
        match entry {
            Entry::Deployment(appended) => {
                self.heads.put(appended.deployment, appended.head);
                let _ = self.subscribers.send(appended);
            }
            Entry::Environment(appended) => {
                let _ = self.environment_subscribers.send(appended);
            }
            Entry::Epoch(epoch) => {
                self.witness.saw_epoch(&epoch);
            }
            Entry::Unknown => {}
        }
    }
}

/// The entries of the one stream in an answer: places and fields.
fn entries(answer: Value) -> Vec<(String, Vec<(String, String)>)> {
    let stream = match answer {
        Value::Map(mut streams) => streams.pop().map(|(_, entries)| entries),
        Value::Array(mut streams) => streams.pop().and_then(|stream| match stream {
            Value::Array(mut parts) => parts.pop(),
            _ => None,
        }),
        _ => None,
    };
    let Some(Value::Array(entries)) = stream else {
        return Vec::new();
    };
    let entry = |entry| match entry {
        Value::Array(parts) => {
            let mut parts = parts.into_iter();
            let place = text(parts.next()?);
            let Some(Value::Array(fields)) = parts.next() else {
                return None;
            };
            let mut fields = fields.into_iter().map(text);
            let fields = std::iter::from_fn(|| Some((fields.next()?, fields.next()?)));
            Some((place, fields.collect()))
        }
        _ => None,
    };
    entries.into_iter().filter_map(entry).collect()
}

const MISSING: Error = Error::Answer("an entry of the log lacks a field");

/// What tells one process of a server from another one.
pub(super) fn run_id(info: &str) -> &str {
    let line = info.lines().find_map(|line| line.strip_prefix("run_id:"));
    line.unwrap_or_default().trim()
}

fn parse(place: Place, fields: &[(String, String)]) -> Result<Entry, Error> {
    let get = |name: &str| {
        let field = fields.iter().find(|(field, _)| field == name);
        field.map(|(_, value)| value.as_str())
    };
    let number = |text: Option<&str>| {
        text.and_then(|text| text.parse::<u64>().ok())
            .ok_or(MISSING)
    };
    let position = place.position;
    let fenced = get("f") == Some("1");
    if let Some(id) = get("d") {
        let lifecycle = serde_json::from_str(get("l").ok_or(MISSING)?);
        return Ok(Entry::Deployment(Appended {
            deployment: id.parse().map_err(|_| MISSING)?,
            head: Head {
                next_seq: number(get("s"))? + number(get("n"))?,
                lifecycle: lifecycle.map_err(|source| Error::Decode {
                    what: "a lifecycle",
                    source: Box::new(source),
                })?,
            },
            position,
            fenced,
        }));
    }
    if let Some(environment) = get("v") {
        return Ok(Entry::Environment(EnvironmentAppended {
            environment: environment.parse().map_err(|_| MISSING)?,
            position,
            decides: !fenced,
        }));
    }
    Ok(get("x").map_or(Entry::Unknown, |epoch| Entry::Epoch(epoch.to_owned())))
}
