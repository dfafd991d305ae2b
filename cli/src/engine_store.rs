//! The store of an engine: a file of its own, or a server that engines share.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hotswap_common::Backoff;
use hotswap_common::file::{Attempt, FileLock};
use hotswap_common::tls::{self, Reload};
use hotswap_protocol::MAX_ARTIFACT_BYTES;
use hotswap_store::blobs::SharedBlobs;
use hotswap_store::transfer::{Archive, Contents};
use hotswap_store::{
    Blobs, Bucket, Catalogue, EnvironmentJournal, Journal, Options, Redis, RedisConfig, Sqlite,
};

use crate::config::{Config, Store};
use crate::environment_variables::read_variable;
use crate::secret_file;

/// An open store.
pub struct EngineStore {
    /// The journals of the deployments.
    pub journal: Arc<dyn Journal>,
    /// The journals of the environments.
    pub environment_journal: Arc<dyn EnvironmentJournal>,
    /// Modules, strategies and nodes.
    pub catalogue: Arc<dyn Catalogue>,
    /// Artifacts.
    pub blobs: Blobs,
    opened: Opened,
}

/// The lock file of an engine whose store is not in its data folder.
const ENGINE_LOCK: &str = "engine.lock";

/// Between attempts to open a store whose server does not answer. Each attempt waits for the
/// server's answer besides.
const MIN_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(5);

enum Opened {
    Sqlite(Sqlite),
    Redis {
        store: Redis,
        /// No other engine uses the data folder.
        _lock: FileLock,
    },
}

/// Whether it is worth trying again: the server may answer later, with the same settings.
fn is_passing(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<hotswap_store::redis::Error>();
    error.is_some_and(hotswap_store::redis::Error::is_passing)
}

impl EngineStore {
    /// The lock files of the data folder. An open store holds one of them.
    pub const LOCKS: [&str; 2] = ["engine.db.lock", ENGINE_LOCK];

    /// Opens the store that the configuration names.
    ///
    /// # Errors
    /// Where it cannot be opened, or is in use.
    pub async fn open(config: &Config) -> Result<Self> {
        match config.store.resolve(read_variable)? {
            Some(redis) => Self::open_redis(config, &redis).await,
            None => Self::open_sqlite(config).await,
        }
        .context("cannot open the store")
    }

    /// As [`Self::open`], but waits for a server that cannot be reached yet: on a new installation,
    /// and after an outage, engines are often there before it. What a person has to change is an
    /// error at once.
    ///
    /// # Errors
    /// As [`Self::open`], but never because the server does not answer.
    pub async fn open_when_available(config: &Config) -> Result<Self> {
        let mut backoff = Backoff::new(MIN_DELAY, MAX_DELAY);
        loop {
            let error = match Self::open(config).await {
                Ok(store) => return Ok(store),
                Err(error) => error,
            };
            if !is_passing(&error) {
                return Err(error);
            }
            let delay = backoff.next_delay();
            let error = format!("{error:#}");
            tracing::warn!(
                error,
                ?delay,
                "the store is not available yet, trying again"
            );
            tokio::time::sleep(delay).await;
        }
    }

    async fn open_sqlite(config: &Config) -> Result<Self> {
        let options = Options {
            reserve_bytes: config.retention.reserve_bytes,
        };
        let dir = &config.data_dir;
        let store = Sqlite::open_with(dir.join("engine.db"), options).await?;
        let shared = Arc::new(store.clone());
        Ok(Self {
            journal: shared.clone(),
            environment_journal: shared.clone(),
            catalogue: shared,
            blobs: match open_bucket(config).await? {
                Some(bucket) => open_blobs(dir).await?.shared_in(bucket),
                None => open_blobs(dir).await?,
            },
            opened: Opened::Sqlite(store),
        })
    }

    async fn open_redis(config: &Config, redis: &RedisConfig) -> Result<Self> {
        let dir = &config.data_dir;
        let lock = match FileLock::try_acquire(&dir.join(ENGINE_LOCK))? {
            Attempt::Acquired(lock) => lock,
            Attempt::Held(holder) => bail!(
                "{} is in use by {holder}; stop it, or give this engine a data folder of its own",
                dir.display()
            ),
        };
        let redis = RedisConfig {
            settings: Some(config.shared_settings()),
            witness_file: Some(dir.join("store-seen.json")),
            ..redis.clone()
        };
        let store = Redis::open(&redis).await?;
        tracing::info!(
            server = redis.shown_url(),
            durability = %store.durability(),
            engine = redis.engine,
            "the store is shared"
        );
        let shared = Arc::new(store.clone());
        let artifacts: Arc<dyn SharedBlobs> = match open_bucket(config).await? {
            Some(bucket) => bucket,
            None => shared.clone(),
        };
        Ok(Self {
            journal: shared.clone(),
            environment_journal: shared.clone(),
            catalogue: shared,
            blobs: open_blobs(dir).await?.shared_in(artifacts),
            opened: Opened::Redis { store, _lock: lock },
        })
    }

    /// Writes an archive into the store that the configuration names, which must be empty.
    ///
    /// # Errors
    /// Where it is not empty, is in use, or fails.
    pub async fn import(config: &Config, archive: &Archive) -> Result<()> {
        if let Some(redis) = config.store.resolve(read_variable)? {
            let bucket = open_bucket(config).await?;
            let artifacts = bucket.as_deref().map(|bucket| bucket as &dyn SharedBlobs);
            return Ok(Redis::import(&redis, archive, artifacts).await?);
        }
        let store = Self::open_sqlite(config).await?;
        let imported = match &store.opened {
            Opened::Sqlite(sqlite) => sqlite.import(archive, &store.blobs).await,
            Opened::Redis { .. } => Ok(()),
        };
        store.close().await;
        Ok(imported?)
    }

    /// What an export reads.
    pub fn contents(&self) -> Arc<dyn Contents> {
        match &self.opened {
            Opened::Sqlite(store) => Arc::new(store.clone()),
            Opened::Redis { store, .. } => Arc::new(store.clone()),
        }
    }

    /// What is read again when its files change: the passwords of the store's server and sentinels,
    /// and the certificates for it. `None` where the store has no server.
    pub fn files(&self, config: &Config) -> Option<Arc<dyn Reload>> {
        let Opened::Redis { store, .. } = &self.opened else {
            return None;
        };
        Some(Arc::new(StoreFiles {
            store: store.clone(),
            config: config.store.clone(),
        }))
    }

    /// Finishes what is queued, and closes the store.
    pub async fn close(&self) {
        match &self.opened {
            Opened::Sqlite(store) => store.close().await,
            Opened::Redis { store, .. } => store.close().await,
        }
    }
}

/// Passwords and certificates of a store on a server, by the names of their files.
struct StoreFiles {
    store: Redis,
    config: Store,
}

impl Reload for StoreFiles {
    fn reload(&self) -> Result<bool, tls::Error> {
        for file in self.config.password_files() {
            let unreadable = |reason| tls::Error::Read {
                path: file.to_owned(),
                reason,
            };
            // A pipe has nothing to be read a second time, and would block.
            if !std::fs::metadata(file).map_err(unreadable)?.is_file() {
                return Ok(false);
            }
            // Resolved below. Here for an error that names the file.
            secret_file::read(file).map_err(|error| unreadable(io::Error::other(error)))?;
        }
        match self.config.resolve(read_variable) {
            Ok(Some(config)) => self.store.replace_credentials(&config),
            // It was resolved when the engine started, and its files are readable.
            Ok(None) | Err(_) => Ok(false),
        }
    }

    fn name(&self) -> &'static str {
        "the password or the certificate for the store"
    }
}

async fn open_bucket(config: &Config) -> Result<Option<Arc<Bucket>>> {
    let Some(bucket) = config.artifacts.resolve()? else {
        return Ok(None);
    };
    if bucket
        .endpoint
        .as_ref()
        .is_some_and(|url| url.starts_with("http://"))
    {
        tracing::warn!(
            bucket = bucket.name,
            "artifacts are sent in clear text; use an https:// endpoint for their bucket"
        );
    }
    let opened = Bucket::open(&bucket).await?;
    tracing::info!(bucket = bucket.name, "artifacts are in a bucket");
    Ok(Some(Arc::new(opened)))
}

async fn open_blobs(dir: &Path) -> Result<Blobs> {
    let blobs = Blobs::open_folder(dir.join("blobs"), MAX_ARTIFACT_BYTES).await;
    blobs.context("cannot open the artifacts")
}
