use std::fmt;
use std::rc::Rc;

use serde::Serialize;

use super::{Error, Host, RawRequest, Response};
use crate::Span;

/// How long to wait for the head of an answer, if the request does not say.
const DEFAULT_PATIENCE: Span = Span::secs(5);

/// How long no byte of a body may come, if the request does not say.
const DEFAULT_IDLE: Span = Span::secs(10);

/// The method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Has the server do something.
    Post,
    /// Writes.
    Put,
    /// Removes.
    Delete,
}

/// A request that is being built. Nothing is sent before [`Self::send`].
pub struct Request {
    host: Rc<dyn Host>,
    url: String,
    raw: RawRequest,
}

impl Request {
    pub(super) fn new(host: Rc<dyn Host>, method: Method, url: &str) -> Self {
        Self {
            host,
            url: url.to_owned(),
            raw: RawRequest {
                method,
                authority: String::new(),
                is_tls: false,
                path: String::new(),
                headers: Vec::new(),
                body: Vec::new(),
                connect: DEFAULT_PATIENCE,
                patience: DEFAULT_PATIENCE,
                idle: DEFAULT_IDLE,
            },
        }
    }

    /// Sets a header. A header that carries a configured secret is set by the engine.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.raw.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn json(self, body: &impl Serialize) -> Self {
        let mut request = self.header("content-type", "application/json");
        // Fails only for keys that are no text, which these types do not have.
        request.raw.body = serde_json::to_vec(body).unwrap_or_default();
        request
    }

    /// Sets how long to wait for the head of the answer; 5 s if this is not called.
    #[must_use]
    pub fn patience(mut self, patience: Span) -> Self {
        self.raw.patience = patience;
        self
    }

    /// Sets how long no byte of the body may come before the connection counts as lost; 10 s if
    /// this is not called. For an answer that is a stream of changes.
    #[must_use]
    pub fn idle(mut self, idle: Span) -> Self {
        self.raw.idle = idle;
        self
    }

    /// Sets the time-outs for an answer that brings something for as long as `patience`, and perhaps
    /// nothing. See [`follow`](super::follow).
    #[must_use]
    pub fn streams_for(self, patience: Span) -> Self {
        let idle = patience
            .as_millis()
            .saturating_add(DEFAULT_IDLE.as_millis());
        self.idle(Span::millis(idle))
    }

    /// Waits no longer than this for the connection, and for the head of an answer that is due at
    /// once.
    pub(super) fn hurried(mut self, patience: Span) -> Self {
        self.raw.connect = self.raw.connect.min(patience);
        // Who waits longer than by default waits for a change.
        if self.raw.patience <= DEFAULT_PATIENCE {
            self.raw.patience = self.raw.patience.min(patience);
        }
        self
    }

    /// Sends the request and waits for the head of the answer. A redirect is an answer like
    /// others.
    ///
    /// # Errors
    /// - [`Error::InvalidConfig`] if the URL is none.
    /// - [`Error::Denied`] if the operator's configuration does not name the server.
    /// - [`Error::Unavailable`] if no answer came.
    pub fn send(mut self) -> Result<Response, Error> {
        let rest = match self.url.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", rest)) => {
                self.raw.is_tls = true;
                rest
            }
            _ => return Err(invalid_url(&self.url)),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.is_empty() {
            return Err(invalid_url(&self.url));
        }
        self.raw.authority = authority.to_owned();
        self.raw.path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        let raw = self.host.send(self.raw)?;
        Ok(Response::new(self.host, self.url, raw))
    }
}

fn invalid_url(url: &str) -> Error {
    Error::InvalidConfig(format!("{url:?} is not a URL like http://host:port"))
}

/// A text as a part of a path or a query.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.raw.method)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn texts_are_encoded_as_parts_of_a_path() {
        assert_eq!(encode("web-1_a.b~"), "web-1_a.b~");
        assert_eq!(encode("a/b?c=é"), "a%2Fb%3Fc%3D%C3%A9");
    }
}
