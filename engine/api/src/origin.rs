use std::fmt;
use std::str::FromStr;

use poem::http::{HeaderValue, Uri};
use serde::{Deserialize, Serialize};

/// The origin of a web page as browsers write it: `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(HeaderValue);

/// A text that is not an origin as browsers write it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not an origin; write scheme, host and port in lower case, without a path or a default port, as browsers do: http://localhost:3000, https://example.org"
)]
pub struct InvalidOrigin(String);

impl Origin {
    /// The value of the header `Origin`.
    pub(crate) fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    /// Takes exact origins only. A pattern that matches one page too many would give that
    /// page access to the engine.
    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let invalid = || InvalidOrigin(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| invalid())?;
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return Err(invalid());
        };
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(invalid()),
        };
        let is_allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte)
        };
        // Comparing the rebuilt text with the input rejects user info, a path and the like.
        let rebuilt = match uri.port_u16() {
            // Browsers leave the default port out.
            Some(port) if port == default_port => return Err(invalid()),
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        };
        if host.is_empty() || !host.bytes().all(is_allowed) || rebuilt != text {
            return Err(invalid());
        }
        HeaderValue::from_str(text).map(Self).map_err(|_| invalid())
    }
}

impl TryFrom<String> for Origin {
    type Error = InvalidOrigin;

    fn try_from(text: String) -> Result<Self, InvalidOrigin> {
        text.parse()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.to_string()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_as_browsers_write_it_is_accepted() {
        for valid in [
            "http://localhost:3000",
            "https://example.org",
            "http://127.0.0.1:8080",
            "http://[::1]:5173",
            "https://a-b.example.org:8443",
        ] {
            let origin: Origin = valid.parse().unwrap();
            assert_eq!(origin.to_string(), valid);
            assert_eq!(origin.header(), valid);
        }
    }

    #[test]
    fn everything_else_is_rejected() {
        for invalid in [
            "",
            "*",
            "null",
            "localhost:3000",
            "http://",
            "http://*",
            "http://*.example.org",
            "http://localhost:3000/",
            "http://localhost:3000/app",
            "http://localhost:3000?a",
            "http://localhost:3000#a",
            "http://Localhost:3000",
            "HTTP://localhost:3000",
            "http://me@localhost",
            "http://localhost:80",
            "https://example.org:443",
            "http://localhost:03000",
            "http://localhost:",
            "ftp://example.org",
            "file:///x",
            "http://exämple.org",
            "http://a b",
            "http://localhost:3000, http://localhost:3001",
        ] {
            let error = invalid.parse::<Origin>().unwrap_err().to_string();
            assert!(
                error.contains("http://localhost:3000"),
                "{invalid}: {error}"
            );
        }
    }
}
