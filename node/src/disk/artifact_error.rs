use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hotswap_common::trace::Value;
use hotswap_core::Digest;
use reqwest::StatusCode;

/// Why an artifact is not available.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The node knows no engine to fetch it from.
    #[error(
        "the artifact {0} is not on this node's disk, and the node has no engine to fetch it from"
    )]
    NoEngine(Digest),
    /// The engine did not answer, or the connection broke.
    #[error(
        "cannot fetch the artifact {digest} from the engine, {received} bytes have arrived: check that this node can reach it"
    )]
    Fetch {
        digest: Digest,
        received: u64,
        #[source]
        source: reqwest::Error,
    },
    /// No byte arrived for this long.
    #[error(
        "the engine sends nothing of the artifact {digest}: {received} bytes have arrived, and none within {span:?}; check the line to the engine"
    )]
    Silent {
        digest: Digest,
        received: u64,
        span: Duration,
    },
    /// The engine sent another part than the one that was asked for.
    #[error("the engine sent another part of the artifact {0} than the one that is missing")]
    WrongRange(Digest),
    /// The engine answered with an error status.
    #[error("the engine answered {status} to the request for the artifact {digest}: {}", advice(*status))]
    Status { digest: Digest, status: StatusCode },
    /// The received bytes have another digest.
    #[error(
        "the engine sent {actual} as the artifact {expected}: it was changed in transit or in the engine's store; push it again"
    )]
    DigestMismatch { expected: Digest, actual: Digest },
    /// The artifact is larger than the node accepts.
    #[error("the artifact {digest} is larger than the {max_bytes} bytes that this node accepts")]
    TooLarge { digest: Digest, max_bytes: u64 },
    /// The artifact cannot be written.
    #[error("cannot write the artifact to {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "push the version first",
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "start this node with the engine's node token"
        }
        _ => "see the engine's log",
    }
}

impl Error {
    /// The kind of the error, for traces.
    pub(crate) fn kind(&self) -> Value {
        Value::Static(match self {
            Self::Status { status, .. } => return Value::Text(status.as_u16().to_string()),
            Self::NoEngine(_) => "no_engine",
            Self::Fetch { source, .. } if source.is_connect() => "connect",
            Self::Fetch { .. } => "connection",
            Self::Silent { .. } => "timeout",
            Self::WrongRange(_) => "wrong_range",
            Self::DigestMismatch { .. } => "digest_mismatch",
            Self::TooLarge { .. } => "too_large",
            Self::Write { .. } => "write",
        })
    }

    /// Whether a retry may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Fetch { .. } | Self::Silent { .. } | Self::WrongRange(_) | Self::Write { .. } => {
                true
            }
            Self::Status { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::NoEngine(_) | Self::DigestMismatch { .. } | Self::TooLarge { .. } => false,
        }
    }
}
