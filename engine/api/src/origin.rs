use std::fmt;
use std::str::FromStr;

use poem::http::{HeaderValue, Uri};
use serde::{Deserialize, Serialize};

/// Where a web page comes from, as its browser says it: `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(HeaderValue);

/// A text that no browser would say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no origin of a web page; write it as browsers do, without a path and in small letters: http://localhost:3000, https://example.org"
)]
pub struct BadOrigin(String);

impl Origin {
    /// As the header `Origin` has it.
    pub(crate) fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = BadOrigin;

    /// Exact ones alone: a pattern that fits a page too many hands it the engine.
    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let bad = || BadOrigin(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| bad())?;
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return Err(bad());
        };
        let usual = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(bad()),
        };
        let plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte)
        };
        // Written anew and compared: nothing else may have stood there.
        let written = match uri.port_u16() {
            // Browsers leave it out.
            Some(port) if port == usual => return Err(bad()),
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        };
        if host.is_empty() || !host.bytes().all(plain) || written != text {
            return Err(bad());
        }
        HeaderValue::from_str(text).map(Self).map_err(|_| bad())
    }
}

impl TryFrom<String> for Origin {
    type Error = BadOrigin;

    fn try_from(text: String) -> Result<Self, BadOrigin> {
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
    fn is_what_a_browser_says() {
        for good in [
            "http://localhost:3000",
            "https://example.org",
            "http://127.0.0.1:8080",
            "http://[::1]:5173",
            "https://a-b.example.org:8443",
        ] {
            let origin: Origin = good.parse().unwrap();
            assert_eq!(origin.to_string(), good);
            assert_eq!(origin.header(), good);
        }
    }

    #[test]
    fn nothing_else_is() {
        for bad in [
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
            let error = bad.parse::<Origin>().unwrap_err().to_string();
            assert!(error.contains("http://localhost:3000"), "{bad}: {error}");
        }
    }
}
