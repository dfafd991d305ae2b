//! The store of any number of engines: one server of Redis or Valkey.
//!
//! Every write is one Lua script, so that it happens whole or not at all, and in one order with
//! all others. All keys begin with `{prefix}:`, a hash tag, so that a cluster keeps them on one
//! server: the order of events is global. So a cluster, like a primary that sentinels watch, is one
//! server. After a failover it has to be found again (`redis/locator.rs`), and it may lack
//! acknowledged writes (`redis/witness.rs`).
//!
//! | Key behind `{prefix}:` | What it holds |
//! |---|---|
//! | `meta` | layout, epoch and its place in the log, last position, last fence, last number, highest deleted position, position up to which something may be lost and when that was noticed |
//! | `d:ID`, `e:ID`, `s:ID` | a deployment: its record, its events by number, its snapshot |
//! | `log` | an entry for each append, by the position of its last event: what engines follow |
//! | `i…` | lists of deployments by number, for each set of conditions |
//! | `open`, `free`, `running`, `waiting` | the open deployments; of those the undriven ones; the running and the waiting one of each module |
//! | `succeeded:…`, `snapped:…`, `requests` | successes, deployments by the format of their last snapshot, idempotency keys |
//! | `environment_events`, `positions…`, `deciding` | the events of environments, their order, and those that are kept |
//! | `environment:NAME`, `environments`, `modules:NAME`, `retired:NAME`, `retirements:…`, `cordons`, `arrivals`, `policies` | what is known of an environment |
//! | `sessions`, `engines`, `settings`, `own:SESSION`, `observers` | the engines, when their sessions end, their settings, what they drive; the sessions that are of no engine |
//! | `module:NAME`, `modules`, `strategies`, `nodes` | the catalogue |
//! | `blob:DIGEST`, `blobs` | artifacts, in chunks |
//!
//! While an import is under way, the layout in `meta` is one that no engine opens
//! (`redis/import.rs`).

mod appends;
mod blobs;
mod catalogue;
mod channels;
mod commands;
mod config;
mod contents;
mod credentials;
mod durability;
mod endpoint;
mod environment_journal;
mod error;
mod head_cache;
mod import;
mod journal;
mod link;
mod locator;
mod memory;
mod opening;
mod place;
mod queries;
mod reply;
mod row;
mod script;
mod session;
mod supersede;
mod tail;
mod witness;
mod witness_file;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hotswap_common::{tls, vital_until_done};
use hotswap_core::DeploymentId;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::channels::Channels;
use self::commands::Commands;
use self::credentials::Credentials;
use self::head_cache::HeadCache;
use self::locator::Locator;
use self::memory::Memory;
use self::opening::Opening;
use self::reply::Args;
use self::session::EngineSession;
use self::tail::Tail;
use self::witness::Witness;
use self::witness_file::WitnessFile;
use crate::unreadable_records::UnreadableRecords;
use crate::{Appended, EnvironmentAppended};

pub use config::{RedisConfig, RequiredDurability, Tls};
pub use durability::{Durability, Fsync, Loss};
pub use error::Error;

/// The layout of the keys that this release writes. It reads no other.
const LAYOUT: u32 = 1;

/// Notifications that a slow subscriber may be behind before it loses the oldest.
const NOTIFICATION_CAPACITY: usize = 8192;

/// Journals, catalogue and artifacts on a server of Redis or Valkey that any number of engines
/// share. A handle: clones share its connections and are cheap.
///
/// One task writes: commands that arrive while it waits for the server share its next pipeline,
/// and so the server's next write to its disk. Queries have a connection of their own, and so has
/// the task that follows the log. Each reconnects with back-off.
///
/// A write whose connection is lost is sent again, and tells the server that it may have been
/// carried out before: it takes effect once. It fails after
/// [`patience`](RedisConfig::patience) at the latest, and then its outcome is unknown.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
}

struct Inner {
    commands: Commands,
    locator: Arc<Locator>,
    durability: Durability,
    heads: Arc<HeadCache>,
    memory: Memory,
    subscribers: broadcast::Sender<Appended>,
    environment_subscribers: broadcast::Sender<EnvironmentAppended>,
    witness: Arc<Witness>,
    witness_file: Option<Arc<WitnessFile>>,
    epoch: watch::Receiver<Arc<str>>,
    session: Arc<EngineSession>,
    channels: Arc<Channels>,
    unreadable: UnreadableRecords,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Redis {
    /// Connects to the server, checks how durable it is, and begins a session.
    ///
    /// # Errors
    /// - [`Error::Address`], [`Error::Tls`] if the configuration is invalid.
    /// - [`Error::Unavailable`] if the server cannot be reached, [`Error::Refused`] if it refuses
    ///   the commands of a store.
    /// - [`Error::Old`] if it is older than version 7.0.
    /// - [`Error::NotDurable`] if it may lose what it acknowledges, and the configuration
    ///   requires otherwise.
    /// - [`Error::NoWait`] if the user may not wait for the disks that the configuration asks for,
    ///   [`Error::Unconfirmed`] if too few have what is written.
    /// - [`Error::NoChannels`] if the user may not use the channels of the installation.
    /// - [`Error::Layout`] if another release has written the keys.
    // Boxed, and so compiled in this crate, not again in every program that opens a store.
    pub fn open(config: &RedisConfig) -> BoxFuture<'_, Result<Self, Error>> {
        Box::pin(Self::connect(config))
    }

    async fn connect(config: &RedisConfig) -> Result<Self, Error> {
        let (opening, writer) = Opening::begin(config).await?;
        let Opening {
            commands,
            durability,
            wait,
            heads,
            to,
        } = opening;
        let (subscribers, _) = broadcast::channel(NOTIFICATION_CAPACITY);
        let (environment_subscribers, _) = broadcast::channel(NOTIFICATION_CAPACITY);
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        tasks.spawn(vital_until_done("the writer of the store", writer.run()));
        let opened = commands.open_store().await?;
        let channels = Arc::new(Channels::new(&commands, Arc::clone(&to.locator)));
        channels.check(&to.server).await?;
        let witness = Arc::clone(&to.witness);
        witness.saw_position(opened.position);
        witness.saw_epoch(&opened.epoch);
        let witness_file = config.witness_file.clone().map(|path| {
            let store = format!("{} {}", to.server, config.key_prefix);
            WitnessFile::new(path, store)
        });
        let link = to.link(tail::BLOCK);
        if let Some(file) = &witness_file
            && let Some(record) = file.read().await
        {
            witness.recall(record);
            // The store may have lost writes while this engine was down.
            let checked = link.check().await;
            checked.map_err(|error| link.error(error))?;
        }
        let lost_durability = watch::Sender::new(None);
        let tail = Tail {
            link,
            commands: commands.clone(),
            last: opened.last,
            config: config.clone(),
            promised: durability.clone(),
            durability: durability.clone(),
            asked_at: Instant::now(),
            lost_durability: lost_durability.clone(),
            wait,
            witness: Arc::clone(&witness),
            heads: Arc::clone(&heads),
            subscribers: subscribers.clone(),
            environment_subscribers: environment_subscribers.clone(),
        };
        let spawn_vital = |name: &'static str, task: BoxFuture<'static, ()>| {
            let stopped = stop.clone();
            let task = vital_until_done(name, task);
            tasks.spawn(async move { stopped.run_until_cancelled(task).await });
        };
        spawn_vital("what follows the store", Box::pin(tail.run()));
        if let Some(file) = &witness_file {
            let keep = Arc::clone(file).keep(Arc::clone(&witness));
            spawn_vital("what remembers what was seen of the store", Box::pin(keep));
        }
        let session =
            EngineSession::begin(commands.clone(), &to, config, lost_durability.subscribe());
        let session = Arc::new(session.await?);
        let keeper = Arc::clone(&session);
        let keep = async move { keeper.keep().await };
        spawn_vital("what renews the session", Box::pin(keep));
        let receiver = Arc::clone(&channels);
        let receive = async move { receiver.receive().await };
        spawn_vital("what hears the other engines", Box::pin(receive));
        tracing::debug!(server = to.server, %durability, "store opened");
        Ok(Self {
            inner: Arc::new(Inner {
                commands,
                locator: to.locator,
                durability,
                heads,
                memory: Memory::default(),
                subscribers,
                environment_subscribers,
                epoch: witness.epoch(),
                witness,
                witness_file,
                session,
                channels,
                unreadable: UnreadableRecords::default(),
                tasks,
                stop,
            }),
        })
    }

    /// Closes the store: finishes the writes that are queued, ends the session, and drops the
    /// connections. All handles are closed with it; their later calls fail.
    pub async fn close(&self) {
        let inner = &self.inner;
        inner.stop.cancel();
        if let Err(error) = inner.session.end_now().await {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(error, "the session ends by itself");
        }
        inner.commands.close().await;
        inner.tasks.close();
        inner.tasks.wait().await;
        if let Some(file) = &inner.witness_file {
            file.write(&inner.witness).await;
        }
    }

    /// Connections that begin from now on identify themselves by the users, passwords and
    /// certificates of `config`, and trust its authority. Open ones stay. Returns whether that is
    /// anything new. Reads the files of certificates, and blocks.
    ///
    /// # Errors
    /// [`tls::Error`] names the file that cannot be used. What was in use before stays so.
    pub fn replace_credentials(&self, config: &RedisConfig) -> Result<bool, tls::Error> {
        let credentials = Credentials::read_checked(config)?;
        Ok(self.inner.locator.replace_credentials(credentials))
    }

    /// How durable the server is.
    pub fn durability(&self) -> &Durability {
        &self.inner.durability
    }

    /// Writes something of no meaning `count` times, one after the other, and returns how long each
    /// took: as long as an append takes.
    ///
    /// # Errors
    /// Those of any write.
    pub async fn measure(&self, count: usize) -> Result<Vec<Duration>, Error> {
        let commands = &self.inner.commands;
        let field = self.inner.session.id();
        let mut spans = Vec::with_capacity(count);
        for number in 0..count {
            let args = Args::new()
                .text("checks")
                .text(&field)
                .number(number as u64);
            let began = Instant::now();
            commands.write(&script::PUT, args).await?;
            spans.push(began.elapsed());
        }
        let args = Args::new().text("checks").text(&field);
        commands.write(&script::REMOVE, args).await?;
        Ok(spans)
    }

    /// Forgets what this handle knows of a deployment.
    fn forget(&self, deployment: DeploymentId) {
        self.inner.heads.remove(deployment);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}
