use serde::Deserialize;
use serde_json::Value;

/// Why the engine did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing listens there.
    #[error("no engine answers at {server}")]
    NoEngine {
        /// Where.
        server: String,
        /// What the network said.
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke, or no answer came in time.
    #[error("the engine at {server} did not answer to the end")]
    Lost {
        /// Where.
        server: String,
        /// What the network said.
        #[source]
        source: reqwest::Error,
    },
    /// It began to tell what happens, and stopped before the end.
    #[error("the engine at {server} {how}")]
    Broke {
        /// Where.
        server: String,
        /// How.
        how: Break,
    },
    /// It answered, and would not.
    #[error("{0}")]
    Refused(Problem),
    /// It answered something else than this program understands.
    #[error("the engine's answer to {path} is not understood; is it of another version?")]
    Odd {
        /// Asked for what.
        path: String,
        /// What did not fit.
        #[source]
        source: serde_json::Error,
    },
    /// It told something else than events as they happen.
    #[error("the engine's answer to {path} is {what}, not events; is it of another version?")]
    NoEvents {
        /// Asked for what.
        path: String,
        /// What it told.
        what: String,
    },
}

/// How the telling of events stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// The connection was closed.
    #[error("stopped telling what happens")]
    Closed,
    /// Not even a sign of life came.
    #[error("has been silent for too long")]
    Silent,
    /// An event is missing.
    #[error("left out event {0}")]
    Gap(u64),
}

impl Error {
    /// The network failed; the address of the request is not told twice.
    pub(super) fn lost(server: &str, source: reqwest::Error) -> Self {
        let (server, source) = (server.to_owned(), source.without_url());
        if source.is_connect() {
            Self::NoEngine { server, source }
        } else {
            Self::Lost { server, source }
        }
    }

    /// Whether asking again may help: the engine is starting, stopping or busy.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NoEngine { .. } | Self::Lost { .. } | Self::Broke { .. } => true,
            Self::Refused(problem) => matches!(problem.status, 429 | 502 | 503 | 504),
            Self::Odd { .. } | Self::NoEvents { .. } => false,
        }
    }

    /// What to do next, where that is known.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::NoEngine { .. } => {
                Some("start one with `hotswap dev`, or name one with --server".to_owned())
            }
            Self::Refused(problem) => match problem.status {
                401 => Some(
                    "give a token with --token-file or HOTSWAP_TOKEN, or run this where \
                     `hotswap dev` keeps its folder"
                        .to_owned(),
                ),
                403 => Some("this token may not do that; give another one".to_owned()),
                429 | 503 => Some("try again in a moment".to_owned()),
                _ => None,
            },
            Self::Lost { .. } => Some("ask again: whether it was done is unknown".to_owned()),
            Self::Broke { .. } | Self::Odd { .. } | Self::NoEvents { .. } => None,
        }
    }
}

/// An answer of the engine that says why not (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// What kind of problem, in some words.
    pub title: String,
    /// What happened, in a sentence.
    pub detail: Option<String>,
    /// What is wrong with each part of the request.
    pub errors: Vec<String>,
    /// The deployment that it is about, where it is about one.
    pub deployment: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.detail {
            Some(detail)
                if detail
                    .to_lowercase()
                    .starts_with(&self.title.to_lowercase()) =>
            {
                write!(f, "{detail}")
            }
            Some(detail) => write!(f, "{}: {detail}", self.title),
            None => write!(f, "{}", self.title),
        }?;
        write!(f, " (HTTP {})", self.status)
    }
}

impl Problem {
    /// Reads what the engine answered; anything else than a problem (a proxy's page) is
    /// told by its status alone.
    pub(super) fn read(status: u16, body: &[u8]) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Wire {
            title: Option<String>,
            detail: Option<String>,
            errors: Vec<Value>,
            deployment: Option<String>,
        }
        let wire: Wire = serde_json::from_slice(body).unwrap_or_default();
        let title = wire.title.unwrap_or_else(|| {
            let status = reqwest::StatusCode::from_u16(status).ok();
            let reason = status.and_then(|status| status.canonical_reason());
            reason.unwrap_or("the engine would not").to_owned()
        });
        Self {
            status,
            title,
            detail: wire.detail.filter(|detail| !detail.is_empty()),
            errors: wire.errors.iter().map(flat).collect(),
            deployment: wire.deployment,
        }
    }
}

/// One of the errors, as `where: what`.
fn flat(error: &Value) -> String {
    let text = |keys: &[&str]| {
        keys.iter()
            .find_map(|key| error.get(key).and_then(Value::as_str))
            .filter(|text| !text.is_empty())
    };
    let place = text(&["pointer", "field", "path", "parameter", "location"]);
    let what = text(&["detail", "message", "reason"]);
    match (place, what, error) {
        (Some(place), Some(what), _) => format!("{place}: {what}"),
        (None, Some(what), _) => what.to_owned(),
        (_, None, Value::String(what)) => what.clone(),
        (_, None, other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_with_all_its_parts() {
        let body = br##"{"type": "x", "title": "Invalid request", "status": 422,
            "detail": "the configuration does not fit",
            "errors": [{"pointer": "#/config/soak", "detail": "write 10s"}, "plain"]}"##;
        let problem = Problem::read(422, body);
        assert_eq!(
            problem.to_string(),
            "Invalid request: the configuration does not fit (HTTP 422)"
        );
        assert_eq!(problem.errors, ["#/config/soak: write 10s", "plain"]);
    }

    #[test]
    fn anything_else_is_told_by_its_status() {
        let problem = Problem::read(502, b"<html>");
        assert_eq!(problem.to_string(), "Bad Gateway (HTTP 502)");
        assert!(Error::Refused(problem).may_pass());
    }

    #[test]
    fn a_missing_token_leads_to_advice() {
        let error = Error::Refused(Problem::read(401, b"{}"));
        assert!(error.advice().unwrap().contains("HOTSWAP_TOKEN"));
        assert!(!error.may_pass());
    }
}
