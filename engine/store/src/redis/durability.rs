//! What the server promises about what it acknowledges, read from its configuration.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use redis::{Value, cmd};
use serde::Serialize;

use super::config::{RedisConfig, RequiredDurability};
use super::error::Error;
use super::link::Link;

/// What is read of its configuration.
const SETTINGS: [&str; 5] = [
    "appendonly",
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "maxmemory-policy",
    "maxmemory",
];

/// How long the server may wait for its disk and its replicas.
pub(super) const WAIT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a server promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durability {
    /// The name of the server: `redis` or `valkey`.
    pub product: String,
    /// Its version.
    pub version: String,
    /// When it makes writes durable. `None` where it keeps them in memory alone.
    pub fsync: Option<Fsync>,
    /// Whether it does not do so while it rewrites its file, which takes seconds to minutes
    /// (`no-appendfsync-on-rewrite`).
    pub skips_fsync: bool,
    /// What it does once its memory is full. Only `noeviction` keeps everything.
    pub eviction: String,
    /// The memory for its data, in bytes. 0 for all that there is.
    pub max_memory: u64,
    /// What tells one process of the server from another one.
    pub run_id: String,
    /// Whether the configuration was read, which some managed services do not allow.
    pub is_known: bool,
    /// Whether it can tell when a write is on a disk (`WAITAOF`).
    pub has_waitaof: bool,
}

/// When a server makes writes durable (`appendfsync`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before it answers.
    Always,
    /// Every second.
    EverySecond,
    /// When the operating system does.
    No,
}

/// What a failure costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// What fails.
    pub when: &'static str,
    /// What is lost of what was acknowledged.
    pub what: &'static str,
}

/// What a write waits for, besides the server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wait {
    /// 1 for the server's own disk, 0 for those of the replicas alone. `None` where the server cannot
    /// tell of disks.
    pub(super) disks: Option<u64>,
    pub(super) replicas: u32,
    pub(super) timeout: Duration,
}

impl Durability {
    /// Reads the server's version and configuration.
    pub(super) async fn read(link: &Link, config: &RedisConfig) -> Result<Self, Error> {
        let info = link.query(|_| {
            let mut command = cmd("INFO");
            command.arg("server");
            command
        });
        let info = text(info.await?);
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.strip_prefix(':')).map(str::trim)
        };
        let (product, version) = match (field("valkey_version"), field("redis_version")) {
            (Some(version), _) => ("valkey", version),
            (None, version) => ("redis", version.unwrap_or("0")),
        };
        let number = parse_version(version);
        if number < (7, 0) {
            return Err(Error::Old {
                server: config.shown_url(),
                found: version.to_owned(),
            });
        }
        let found = link.query(|_| {
            let mut command = cmd("CONFIG");
            command.arg("GET");
            for name in SETTINGS {
                command.arg(name);
            }
            command
        });
        let (found, is_known) = match found.await {
            Ok(found) => (pairs(found), true),
            Err(Error::Refused { .. }) => (HashMap::new(), false),
            Err(error) => return Err(error),
        };
        let get = |name: &str| found.get(name).map(String::as_str);
        let fsync = match (get("appendonly"), get("appendfsync")) {
            (Some("yes"), Some("always")) => Some(Fsync::Always),
            (Some("yes"), Some("everysec")) => Some(Fsync::EverySecond),
            (Some("yes"), _) => Some(Fsync::No),
            _ => None,
        };
        let max_memory = get("maxmemory").and_then(|bytes| bytes.parse().ok());
        Ok(Self {
            product: product.to_owned(),
            version: version.to_owned(),
            run_id: field("run_id").unwrap_or_default().to_owned(),
            fsync,
            skips_fsync: get("no-appendfsync-on-rewrite") == Some("yes"),
            eviction: get("maxmemory-policy").unwrap_or_default().to_owned(),
            max_memory: max_memory.unwrap_or(0),
            is_known,
            has_waitaof: number >= (7, 2),
        })
    }

    /// What the server may lose of what it has acknowledged, and what to do about it. Empty where
    /// it loses nothing by itself.
    pub fn faults(&self) -> Vec<&'static str> {
        if !self.is_known {
            return vec![
                "its configuration cannot be read, because the user may not run CONFIG GET, so \
                 that nothing is known of what it keeps",
            ];
        }
        let mut faults = Vec::new();
        if self.fsync.is_none() {
            faults.push(
                "it keeps its data in memory alone, and a restart loses everything; set \
                 appendonly to yes",
            );
        }
        if self.eviction != "noeviction" {
            faults.push(
                "it deletes keys once its memory is full; set maxmemory-policy to noeviction",
            );
        }
        if self.fsync == Some(Fsync::No) {
            faults.push(
                "a crash of its machine loses what the operating system has not written yet, \
                 half a minute or more; set appendfsync to always or everysec",
            );
        }
        faults
    }

    /// What to know of the server, although it promises what is required. Empty if there is nothing.
    pub fn warnings(&self, config: &RedisConfig) -> Vec<&'static str> {
        let crash = self.crash_warning(config);
        let has_no_limit = self.is_known && self.max_memory == 0;
        let memory = has_no_limit.then_some(
            "the server's memory has no limit (maxmemory 0), so that engines never see it as full \
             and refuse no new work: once its machine has no memory left, the system may kill it; \
             set maxmemory to less than the machine has",
        );
        crash.into_iter().chain(memory).collect()
    }

    /// What is lost where the server or its machine crashes. `None` if nothing is.
    fn crash_warning(&self, config: &RedisConfig) -> Option<&'static str> {
        let waits = self.asks_for_disk(config);
        if self.fsync.is_some_and(|fsync| fsync != Fsync::No) && self.skips_fsync && !waits {
            return Some(
                "the server does not wait for its disk while it rewrites its file: a crash of its \
                 machine then loses what it has acknowledged since, half a minute or more; set \
                 no-appendfsync-on-rewrite to no",
            );
        }
        (self.fsync == Some(Fsync::EverySecond) && !waits).then_some(
            "the server writes to its disk every second: a crash of its machine loses up to two \
             seconds of what it has acknowledged, also of deployments that go on; set appendfsync \
             to always, or let appends wait for the disk",
        )
    }

    /// What is lost of what was acknowledged, failure by failure.
    pub fn losses(&self, config: &RedisConfig) -> Vec<Loss> {
        let waits_for_disk =
            self.is_always_on_disk() || (self.asks_for_disk(config) && !self.is_in_memory_alone());
        let restart = match self.fsync {
            _ if waits_for_disk || self.fsync.is_some() => "nothing",
            _ if self.is_known => "everything",
            _ => "unknown",
        };
        let crash = match self.fsync {
            _ if waits_for_disk => "nothing",
            Some(Fsync::Always | Fsync::EverySecond) if self.skips_fsync => {
                "what came since it began to rewrite its file, half a minute or more"
            }
            Some(Fsync::EverySecond) => "up to two seconds",
            Some(_) => "what the operating system has not written, half a minute or more",
            None if self.is_known => "everything",
            None => "unknown",
        };
        let failover = match config.wait_for_replicas {
            0 => "what the replica had not received yet",
            _ => "nothing, where the replica that is promoted is among those that were waited for",
        };
        let full = match self.eviction.as_str() {
            "noeviction" => "nothing: writes are refused, and retried",
            "" => "unknown",
            _ => "any key, without a word",
        };
        let losses = [
            ("an engine", "nothing"),
            ("the connection of an engine", "nothing"),
            ("the server's process, which is started again", restart),
            ("the server's machine, which comes back", crash),
            ("the server for good: a replica is promoted", failover),
            ("the server's memory is full", full),
        ];
        losses.map(|(when, what)| Loss { when, what }).into()
    }

    /// # Errors
    /// [`Error::NotDurable`] where it promises less than is required.
    pub(super) fn check(&self, config: &RedisConfig, server: &str) -> Result<(), Error> {
        if let Some(reason) = self.unmet(config) {
            return Err(Error::NotDurable {
                server: server.to_owned(),
                reason,
            });
        }
        let faults = self.faults();
        if !faults.is_empty() {
            let reason = faults.join(", and ");
            tracing::warn!(%server, "the store is not durable: {reason}");
        }
        for warning in self.warnings(config) {
            tracing::warn!(%server, "{warning}");
        }
        Ok(())
    }

    /// What is required and not promised, with what to do about it.
    fn unmet(&self, config: &RedisConfig) -> Option<String> {
        if config.wait_for_disk && !self.is_always_on_disk() && !self.has_waitaof {
            return Some(format!(
                "appends are to wait for the disk, which {} {} cannot tell of; set appendfsync to \
                 always, or use Valkey or Redis 7.2 or newer",
                self.product, self.version
            ));
        }
        if config.wait_for_disk && self.is_in_memory_alone() {
            let reason = "appends are to wait for the disk, and it keeps its data in memory alone; \
                          set appendonly to yes";
            return Some(reason.to_owned());
        }
        let faults = self.faults();
        let is_required = config.durability == RequiredDurability::Durable;
        (is_required && !faults.is_empty()).then(|| faults.join(", and "))
    }

    /// What is not promised although it is required, or was promised `before`, with what to do about
    /// it.
    pub(super) fn lost_since(&self, before: &Self, config: &RedisConfig) -> Option<String> {
        let unmet = self.unmet(config);
        unmet.or_else(|| {
            let of = |durability: &Self| {
                let crash = durability.crash_warning(config);
                durability.faults().into_iter().chain(crash).collect()
            };
            let (known, found): (Vec<_>, Vec<_>) = (of(before), of(self));
            let new = found.into_iter().filter(|one| !known.contains(one));
            let new: Vec<_> = new.collect();
            (!new.is_empty()).then(|| new.join(", and "))
        })
    }

    /// Whether each write is on the disk before it is answered.
    fn is_always_on_disk(&self) -> bool {
        self.fsync == Some(Fsync::Always) && !self.skips_fsync
    }

    /// Whether the server is known to write nothing to its disk.
    fn is_in_memory_alone(&self) -> bool {
        self.is_known && self.fsync.is_none()
    }

    /// Whether each write waits until the server says that it is on its disk.
    fn asks_for_disk(&self, config: &RedisConfig) -> bool {
        config.wait_for_disk && self.has_waitaof
    }

    /// What writes wait for. A server that can tell is asked for its disk whatever its configuration
    /// says: that may be unknown, and the next primary may have another one.
    pub(super) fn wait(&self, config: &RedisConfig) -> Option<Wait> {
        let (asks_for_disk, replicas) = (self.asks_for_disk(config), config.wait_for_replicas);
        if !asks_for_disk && replicas == 0 {
            return None;
        }
        // Replicas can be asked for their disks only where they have files.
        let has_file = self.has_waitaof && self.fsync.is_some();
        Some(Wait {
            disks: (asks_for_disk || has_file).then_some(u64::from(asks_for_disk)),
            replicas,
            timeout: WAIT_TIMEOUT,
        })
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fsync = match self.fsync {
            Some(Fsync::Always) => "writes to its disk before it answers",
            Some(Fsync::EverySecond) => "writes to its disk every second",
            Some(Fsync::No) => "leaves it to the operating system to write to the disk",
            None if self.is_known => "keeps its data in memory alone",
            None => "does not show its configuration",
        };
        write!(f, "{} {}, which {fsync}", self.product, self.version)
    }
}

fn parse_version(text: &str) -> (u32, u32) {
    let mut numbers = text.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

pub(super) fn text(value: Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text,
        _ => String::new(),
    }
}

fn pairs(value: Value) -> HashMap<String, String> {
    match value {
        Value::Map(pairs) => pairs
            .into_iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
        Value::Array(flat) => {
            let mut flat = flat.into_iter().map(text);
            std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect()
        }
        _ => HashMap::new(),
    }
}
