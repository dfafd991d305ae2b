//! Requests that test the staged version.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Span;
use crate::bindings::hotswap::strategy::fleet::HttpProbe;

/// A request that the staged version must answer as expected.
///
/// ```
/// use hotswap_sdk::{Probe, Span};
///
/// let probe = Probe::get("/health").body("ready").timeout(Span::secs(30));
/// assert_eq!(probe.status, 200);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// Path and query of the request. Begins with `/`.
    #[schemars(regex(pattern = "^/"))]
    pub path: String,
    /// The HTTP status that the response must have.
    #[schemars(range(min = 100, max = 599))]
    pub status: u16,
    /// Text that the first 64 KiB of the response body must contain. Null accepts any body.
    pub body: Option<String>,
    /// How long to retry before the node counts as unhealthy.
    pub timeout: Span,
}

impl Probe {
    /// A probe of this path that expects status 200 within five minutes.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            status: 200,
            body: None,
            timeout: Span::mins(5),
        }
    }

    /// Sets the expected status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Expects a response body that contains `text`.
    #[must_use]
    pub fn body(mut self, text: impl Into<String>) -> Self {
        self.body = Some(text.into());
        self
    }

    /// Sets how long to retry.
    #[must_use]
    pub fn timeout(mut self, timeout: Span) -> Self {
        self.timeout = timeout;
        self
    }
}

impl Default for Probe {
    fn default() -> Self {
        Self::get("/")
    }
}

impl From<&Probe> for HttpProbe {
    fn from(probe: &Probe) -> Self {
        Self {
            path: probe.path.clone(),
            expect_status: probe.status,
            expect_body: probe.body.clone(),
            timeout: probe.timeout.as_millis(),
        }
    }
}
