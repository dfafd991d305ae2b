//! Errors of the store on a server.

use hotswap_common::tls;
use hotswap_core::DeploymentId;
use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::{
    AppendError, AppendToEnvironmentError, CreateError, DeleteError, LeaseError, ReadError,
};

/// Why an operation on a [`crate::Redis`] store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is invalid.
    #[error("{0}")]
    Address(String),
    /// A certificate or a key cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The server is too old.
    #[error("{server} has version {found}; the store needs Redis 7.0, Valkey 7.2 or newer")]
    Old {
        /// The server.
        server: String,
        /// Its version.
        found: String,
    },
    /// The server may lose what it acknowledges.
    #[error("{server} is not durable: {reason}")]
    NotDurable {
        /// The server.
        server: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Another release has written the keys.
    #[error(
        "the store has layout {found}, and this release knows layout {known}; start the release \
         that wrote it"
    )]
    Layout {
        /// The layout.
        found: String,
        /// The one that this release knows.
        known: u32,
    },
    /// An import has begun, and has not ended.
    #[error(
        "an import into the store is under way, or was cut off; wait for its end, or import again"
    )]
    Importing,
    /// The server does not answer.
    #[error("{server} does not answer")]
    Unavailable {
        /// The server.
        server: String,
        /// The client's error.
        #[source]
        source: RedisError,
    },
    /// The server answers with an error.
    #[error("{server} refuses: {advice}")]
    Refused {
        /// The server.
        server: String,
        /// What it means, and what to do.
        advice: &'static str,
        /// Its own words.
        #[source]
        source: RedisError,
    },
    /// The user may not use the channels over which engines hear of each other's nodes.
    #[error(
        "{server} refuses {command} on the channels {channels}: engines would not hear of the \
         nodes that report to other engines; give the user the rules +@pubsub and &{channels} \
         (ACL SETUSER)"
    )]
    NoChannels {
        /// The server.
        server: String,
        /// What it refuses.
        command: &'static str,
        /// The channels of the installation, as a pattern.
        channels: String,
        /// Its own words.
        #[source]
        source: RedisError,
    },
    /// The user may not run the command by which a write waits for disks and replicas.
    #[error(
        "{server} refuses {command}, by which a write waits for disks and replicas; give the user \
         the rule +{} (ACL SETUSER)",
        .command.to_lowercase()
    )]
    NoWait {
        /// The server.
        server: String,
        /// What it refuses: `WAIT` or `WAITAOF`.
        command: &'static str,
        /// Its own words.
        #[source]
        source: RedisError,
    },
    /// The server has carried out a write that is not on as many disks as is required.
    #[error(
        "the write is not on as many disks as the configuration requires: {disks} of the server, \
         {replicas} of its replicas; check the replicas, or wait for fewer"
    )]
    Unconfirmed {
        /// 1 if it is on the server's disk, 0 otherwise.
        disks: u64,
        /// On how many replicas' disks it is.
        replicas: u64,
    },
    /// The answer is not what the scripts of this release return.
    #[error("the server's answer cannot be read: {0}")]
    Answer(&'static str),
    /// A deployment of this id has ended before.
    #[error("there was a deployment {0} before")]
    Exists(DeploymentId),
    /// A value could not be encoded as JSON.
    #[error("could not encode {what} as JSON")]
    Encode {
        /// What should have been encoded.
        what: &'static str,
        /// The encoder's error.
        #[source]
        source: serde_json::Error,
    },
    /// A record cannot be read.
    #[error("could not read {what}")]
    Decode {
        /// What should have been read.
        what: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// This engine was not heard of for too long, and has no session for a moment.
    #[error("the engine's session with the store has ended; it begins a new one")]
    Lapsed,
    /// Others changed what is to be changed, again and again.
    #[error("other engines changed the same at the same time; try again")]
    Contended,
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    /// Whether the server may do later what it did not do now, with the same settings of this engine:
    /// it is not reached, loads its data, waits for a failover or for its replicas, or its memory or
    /// its disk is full.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Unconfirmed { .. } => true,
            Self::Refused { source, .. } => {
                matches!(source.code(), Some("OOM" | "MISCONF"))
                    || !matches!(verdict(source), Verdict::Refused(_))
            }
            _ => false,
        }
    }
}

/// What an error of the server or the client means for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The connection is of no use any more. Whether the command was carried out is unknown.
    Reconnect,
    /// It was not carried out, and may be a moment later.
    Later,
    /// The server does not know the script. It was not carried out.
    NoScript,
    /// It was not carried out, and a person has to act.
    Refused(&'static str),
}

pub(super) fn verdict(error: &RedisError) -> Verdict {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::NoScript) => return Verdict::NoScript,
        ErrorKind::AuthenticationFailed => return Verdict::Refused(CREDENTIALS),
        ErrorKind::MasterNameNotFoundBySentinel => return Verdict::Refused(NO_PRIMARY),
        ErrorKind::Io | ErrorKind::Client | ErrorKind::Parse => return Verdict::Reconnect,
        _ => {}
    }
    match error.code().unwrap_or_default() {
        "LOADING" | "BUSY" | "TRYAGAIN" | "ASK" | "NOREPLICAS" => Verdict::Later,
        // Another server has the keys, or will: the address may lead there.
        "READONLY" | "MOVED" | "CLUSTERDOWN" | "MASTERDOWN" | "UNBLOCKED" => Verdict::Reconnect,
        code => Verdict::Refused(advice(code)),
    }
}

const CREDENTIALS: &str =
    "the user or the password is wrong; sentinels have a user and a password of their own";

const NO_PRIMARY: &str =
    "the sentinels know no primary of this name; the address ends with the name that they monitor";

/// What to do about an error of the server.
pub(super) fn advice(code: &str) -> &'static str {
    match code {
        "OOM" => {
            "its memory is full (maxmemory); give it more, or keep less by the section [retention]"
        }
        "READONLY" => {
            "it is a replica, which takes no writes; give the address of the primary, or of \
             sentinels that know it"
        }
        "MISCONF" => {
            "it cannot save to its disk; free some room there and look into the server's log"
        }
        "LOADING" => "it still loads its data; it takes commands once that is done",
        "BUSY" => "a script of another program runs for too long; end it with SCRIPT KILL",
        "MASTERDOWN" => "it is a replica that has lost its primary; wait for the failover",
        "TRYAGAIN" | "ASK" => {
            "the cluster moves the keys to another node; it takes commands once that is done"
        }
        "CLUSTERDOWN" => {
            "the cluster is down or lacks the slots of the key prefix; check it with CLUSTER INFO"
        }
        "MOVED" => {
            "it is a node of a cluster, and the keys are on another one; begin the address with \
             redis+cluster:// or rediss+cluster://, which finds it"
        }
        "NOAUTH" | "WRONGPASS" => CREDENTIALS,
        "NOPERM" => {
            "the user lacks a permission: allow it the commands of the guide on scaling, and all \
             keys and channels of the prefix"
        }
        "NOREPLICAS" => "too few replicas are connected (min-replicas-to-write)",
        _ => "it does not carry out the command",
    }
}

macro_rules! into_store_errors {
    ($($error:ident),*) => {$(
        impl From<Error> for $error {
            fn from(error: Error) -> Self {
                Self::Store(Box::new(error))
            }
        }
    )*};
}

into_store_errors!(
    CreateError,
    AppendError,
    DeleteError,
    LeaseError,
    ReadError,
    AppendToEnvironmentError
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_that_servers_are_known_for_says_what_to_do() {
        for code in [
            "OOM",
            "READONLY",
            "MISCONF",
            "LOADING",
            "CLUSTERDOWN",
            "MOVED",
            "ASK",
            "NOREPLICAS",
            "NOAUTH",
            "NOPERM",
            "MASTERDOWN",
        ] {
            assert_ne!(advice(code), advice("?"), "{code}");
        }
    }

    #[test]
    fn an_engine_that_starts_waits_for_what_can_pass() {
        let refused = |text: &str| {
            let source = redis::parse_redis_value(format!("-{text}\r\n").as_bytes());
            let source = source.and_then(redis::Value::extract_error).unwrap_err();
            Error::Refused {
                server: String::new(),
                advice: "",
                source,
            }
        };
        for text in ["OOM full", "MISCONF disk", "LOADING data", "NOREPLICAS few"] {
            assert!(refused(text).is_passing(), "{text}");
        }
        for text in ["NOPERM no", "NOAUTH no", "ERR no"] {
            assert!(!refused(text).is_passing(), "{text}");
        }
        let unconfirmed = Error::Unconfirmed {
            disks: 0,
            replicas: 0,
        };
        assert!(unconfirmed.is_passing());
    }
}
