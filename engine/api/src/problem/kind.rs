use poem::http::StatusCode;

/// The kinds of problems. Their names in `type` are part of the API: they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    BadRequest,
    Unauthorized,
    TokenExpired,
    Forbidden,
    UnknownRoute,
    UnknownDeployment,
    UnknownModule,
    UnknownStrategy,
    UnknownCluster,
    UnknownNode,
    UnknownArtifact,
    UnknownSource,
    UnknownConnection,
    MethodNotAllowed,
    SlowUpload,
    ConnectionInUse,
    DeploymentRunning,
    IllegalState,
    IdempotencyKeyReused,
    DamagedJournal,
    NothingBefore,
    NoNodes,
    NoneSelected,
    StaleView,
    NodeIdTaken,
    TooManyUnavailable,
    VersionTaken,
    VersionGone,
    BuiltInStrategy,
    InUse,
    PayloadTooLarge,
    UnsupportedMediaType,
    UnknownRange,
    InvalidRequest,
    InvalidConfig,
    ExceedsDeadline,
    NotAModule,
    NotAStrategy,
    TooManyConnections,
    Internal,
    Unavailable,
    TimedOut,
    DiskFull,
}

impl Kind {
    /// The name in `type`, the status and the title.
    pub(super) fn parts(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::BadRequest => ("bad-request", S::BAD_REQUEST, "The request is malformed"),
            Self::Unauthorized => ("unauthorized", S::UNAUTHORIZED, "A valid token is required"),
            Self::TokenExpired => ("token-expired", S::UNAUTHORIZED, "The token has expired"),
            Self::Forbidden => ("forbidden", S::FORBIDDEN, "The token does not allow this"),
            Self::UnknownRoute => ("unknown-route", S::NOT_FOUND, "No such path"),
            Self::UnknownDeployment => ("unknown-deployment", S::NOT_FOUND, "No such deployment"),
            Self::UnknownModule => ("unknown-module", S::NOT_FOUND, "No such module or version"),
            Self::UnknownStrategy => ("unknown-strategy", S::NOT_FOUND, "No such strategy"),
            Self::UnknownCluster => ("unknown-cluster", S::NOT_FOUND, "No such environment"),
            Self::UnknownNode => ("unknown-node", S::NOT_FOUND, "No such node"),
            Self::UnknownArtifact => ("unknown-artifact", S::NOT_FOUND, "No such artifact"),
            Self::UnknownSource => ("unknown-source", S::NOT_FOUND, "No such source"),
            Self::UnknownConnection => ("unknown-connection", S::NOT_FOUND, "No such connection"),
            Self::ConnectionInUse => (
                "connection-in-use",
                S::CONFLICT,
                "The connection is already in use",
            ),
            Self::TooManyConnections => (
                "too-many-connections",
                S::TOO_MANY_REQUESTS,
                "Too many connections",
            ),
            Self::MethodNotAllowed => (
                "method-not-allowed",
                S::METHOD_NOT_ALLOWED,
                "The path does not support this method",
            ),
            Self::SlowUpload => ("slow-upload", S::REQUEST_TIMEOUT, "The upload was too slow"),
            Self::DeploymentRunning => (
                "deployment-running",
                S::CONFLICT,
                "Another deployment is running",
            ),
            Self::IllegalState => (
                "illegal-state",
                S::CONFLICT,
                "The deployment's state does not allow this",
            ),
            Self::IdempotencyKeyReused => (
                "idempotency-key-reused",
                S::UNPROCESSABLE_ENTITY,
                "The idempotency key belongs to another request",
            ),
            Self::DamagedJournal => (
                "damaged-journal",
                S::CONFLICT,
                "The deployment's journal cannot be read",
            ),
            Self::NothingBefore => (
                "nothing-before",
                S::CONFLICT,
                "There is no earlier version to roll back to",
            ),
            Self::NoNodes => ("no-nodes", S::CONFLICT, "The environment has no nodes"),
            Self::NoneSelected => ("none-selected", S::CONFLICT, "The selector matches no node"),
            Self::StaleView => (
                "stale-view",
                S::CONFLICT,
                "It is not known well enough which nodes there are",
            ),
            Self::NodeIdTaken => (
                "node-id-taken",
                S::CONFLICT,
                "Another node with this id reports in",
            ),
            Self::TooManyUnavailable => (
                "too-many-unavailable",
                S::CONFLICT,
                "Too many nodes would be unavailable",
            ),
            Self::VersionTaken => ("version-taken", S::CONFLICT, "The version already exists"),
            Self::VersionGone => ("version-gone", S::CONFLICT, "The version was deleted"),
            Self::BuiltInStrategy => (
                "built-in-strategy",
                S::CONFLICT,
                "A built-in strategy cannot be changed",
            ),
            Self::InUse => ("in-use", S::CONFLICT, "It is still needed"),
            Self::DiskFull => (
                "disk-full",
                S::INSUFFICIENT_STORAGE,
                "The engine's disk is full",
            ),
            Self::PayloadTooLarge => (
                "payload-too-large",
                S::PAYLOAD_TOO_LARGE,
                "The body is too large",
            ),
            Self::UnsupportedMediaType => (
                "unsupported-media-type",
                S::UNSUPPORTED_MEDIA_TYPE,
                "The body has the wrong content type",
            ),
            Self::InvalidRequest => (
                "invalid-request",
                S::UNPROCESSABLE_ENTITY,
                "The request is invalid",
            ),
            Self::InvalidConfig => (
                "invalid-config",
                S::UNPROCESSABLE_ENTITY,
                "The configuration does not fit the strategy",
            ),
            Self::ExceedsDeadline => (
                "exceeds-deadline",
                S::UNPROCESSABLE_ENTITY,
                "The rollout cannot end before its deadline",
            ),
            Self::NotAModule => (
                "not-a-module",
                S::UNPROCESSABLE_ENTITY,
                "Nodes cannot run this file",
            ),
            Self::NotAStrategy => (
                "not-a-strategy",
                S::UNPROCESSABLE_ENTITY,
                "The engine cannot run this file as a strategy",
            ),
            Self::UnknownRange => (
                "unknown-range",
                S::RANGE_NOT_SATISFIABLE,
                "The artifact does not have this part",
            ),
            Self::Internal => (
                "internal",
                S::INTERNAL_SERVER_ERROR,
                "Internal error of the engine",
            ),
            Self::Unavailable => (
                "unavailable",
                S::SERVICE_UNAVAILABLE,
                "The engine is temporarily unavailable",
            ),
            Self::TimedOut => (
                "timed-out",
                S::SERVICE_UNAVAILABLE,
                "The engine took too long",
            ),
        }
    }
}
