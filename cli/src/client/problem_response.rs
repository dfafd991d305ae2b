use serde::Deserialize;
use serde_json::Value;

/// The prefix of the type of the engine's problems.
const ENGINE_PROBLEM: &str = "urn:hotswap:problem:";

/// Why the engine rejected a request (RFC 9457).
// Not `hotswap_protocol::Problem`, which rejects what lacks a member: here any response, of
// another version or of a proxy, becomes a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProblemResponse {
    /// Whether an engine wrote it.
    pub is_of_engine: bool,
    /// The HTTP status.
    pub status: u16,
    /// The kind of problem.
    pub title: String,
    /// What happened, in a sentence.
    pub detail: Option<String>,
    /// What is wrong with each part of the request.
    pub errors: Vec<String>,
    /// The deployment that the problem is about, if it is about one.
    pub deployment: Option<String>,
}

impl std::fmt::Display for ProblemResponse {
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

impl ProblemResponse {
    /// Whether the status shows that the server is not an engine: neither did an engine write
    /// the response, nor does a proxy before an engine respond like this.
    pub(super) fn is_of_another_server(&self) -> bool {
        const OF_PROXIES: [u16; 11] = [401, 403, 407, 408, 413, 414, 429, 431, 502, 503, 504];
        !self.is_of_engine && !OF_PROXIES.contains(&self.status)
    }

    /// Reads the body of a response. Of a body that is not a problem, such as a proxy's page,
    /// only the status is used.
    pub(super) fn read(status: u16, json: &[u8]) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Body {
            r#type: Option<String>,
            title: Option<String>,
            detail: Option<String>,
            errors: Vec<Value>,
            deployment: Option<String>,
        }
        let body: Body = serde_json::from_slice(json).unwrap_or_default();
        let title = body.title.unwrap_or_else(|| {
            let status = reqwest::StatusCode::from_u16(status).ok();
            let reason = status.and_then(|status| status.canonical_reason());
            reason
                .unwrap_or("the engine rejected the request")
                .to_owned()
        });
        let kind = body.r#type.as_deref().unwrap_or_default();
        Self {
            is_of_engine: kind.starts_with(ENGINE_PROBLEM),
            status,
            title,
            detail: body.detail.filter(|detail| !detail.is_empty()),
            errors: body.errors.iter().map(flatten).collect(),
            deployment: body.deployment,
        }
    }
}

/// One of the errors, as `location: text`.
fn flatten(error: &Value) -> String {
    let text = |keys: &[&str]| {
        keys.iter()
            .find_map(|key| error.get(key).and_then(Value::as_str))
            .filter(|text| !text.is_empty())
    };
    let location = text(&["pointer", "field", "path", "parameter", "location"]);
    let message = text(&["detail", "message", "reason"]);
    match (location, message, error) {
        (Some(location), Some(message), _) => format!("{location}: {message}"),
        (None, Some(message), _) => message.to_owned(),
        (_, None, Value::String(message)) => message.clone(),
        (_, None, other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_problem_is_read() {
        let json =
            br##"{"type": "urn:hotswap:problem:invalid", "title": "Invalid request", "status": 422,
            "detail": "the configuration does not fit",
            "errors": [{"pointer": "#/config/soak", "detail": "write 10s"}, "plain"]}"##;
        let problem = ProblemResponse::read(422, json);
        assert_eq!(
            problem.to_string(),
            "Invalid request: the configuration does not fit (HTTP 422)"
        );
        assert_eq!(problem.errors, ["#/config/soak: write 10s", "plain"]);
        assert!(problem.is_of_engine && !problem.is_of_another_server());
    }

    #[test]
    fn of_any_other_response_the_status_is_shown() {
        let problem = ProblemResponse::read(502, b"<html>");
        assert_eq!(problem.to_string(), "Bad Gateway (HTTP 502)");
        assert!(
            !problem.is_of_another_server(),
            "a proxy responds like this"
        );
        for body in ["<html>", "{}", r#"{"type": "about:blank"}"#, "[1]"] {
            let problem = ProblemResponse::read(404, body.as_bytes());
            assert!(problem.is_of_another_server(), "{body}");
        }
    }
}
