//! What an engine and an import begin with.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::commands::{Commands, key_prefix};
use super::config::RedisConfig;
use super::durability::{Durability, WAIT_TIMEOUT, Wait};
use super::error::Error;
use super::head_cache::HeadCache;
use super::link::{Link, Times};
use super::locator::Locator;
use super::witness::Witness;
use super::writer::Writer;

/// A server that was reached, and whose durability was checked.
pub(super) struct Opening {
    pub(super) commands: Commands,
    pub(super) durability: Durability,
    /// What the writer waits for.
    pub(super) wait: watch::Sender<Option<Wait>>,
    pub(super) heads: Arc<HeadCache>,
    pub(super) to: Destination,
}

/// Where connections lead, and what each has to show before it is used.
pub(super) struct Destination {
    pub(super) locator: Arc<Locator>,
    pub(super) witness: Arc<Witness>,
    pub(super) server: String,
    patience: Duration,
}

impl Opening {
    /// Connects. Nothing is written before the writer runs.
    ///
    /// # Errors
    /// Those of [`super::Redis::open`], but for what the store holds.
    pub(super) async fn begin(config: &RedisConfig) -> Result<(Self, Writer), Error> {
        let locator = Arc::new(config.locator()?);
        let server = config.shown_url();
        let heads = Arc::<HeadCache>::default();
        let meta = format!("{}meta", key_prefix(config));
        let witness = Arc::new(Witness::new(meta, Arc::clone(&heads)));
        let to = Destination {
            locator,
            witness,
            server,
            patience: config.patience,
        };
        let reads = to.link(Duration::ZERO);
        let durability = Durability::read(&reads, config).await?;
        durability.check(config, &to.server)?;
        let wait = watch::Sender::new(durability.wait(config));
        // Also where nothing is waited for now: the next primary may promise less.
        let wait_time = match config.wait_for_disk || config.wait_for_replicas > 0 {
            true => WAIT_TIMEOUT,
            false => Duration::ZERO,
        };
        let (writer, jobs) = Writer::new(to.link(wait_time), config, wait.subscribe());
        let opening = Self {
            commands: Commands::new(jobs, reads, config),
            durability,
            wait,
            heads,
            to,
        };
        Ok((opening, writer))
    }
}

impl Destination {
    /// A connection to the server. Commands on it may take `extra` time, because they wait.
    pub(super) fn link(&self, extra: Duration) -> Arc<Link> {
        self.link_with(Times {
            patience: self.patience,
            answer: self.patience + extra,
            connect: self.patience,
        })
    }

    /// A connection for signs of life. One that is dead without a word is given up after
    /// `patience`, so that another one is made in time.
    pub(super) fn hasty_link(&self, patience: Duration) -> Arc<Link> {
        self.link_with(Times {
            patience,
            answer: patience,
            connect: self.patience,
        })
    }

    fn link_with(&self, times: Times) -> Arc<Link> {
        let (locator, witness) = (Arc::clone(&self.locator), Arc::clone(&self.witness));
        Arc::new(Link::new(locator, witness, &self.server, times))
    }
}
