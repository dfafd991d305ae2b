use std::fmt;
use std::rc::Rc;

use serde::de::DeserializeOwned;

use super::lines::Lines;
use super::{Chunk, Error, Host, RawResponse};
use crate::Span;

/// How long the whole body may take after the head has come.
const BODY_PATIENCE: Span = Span::secs(10);

/// Characters of an answer that an error repeats.
const QUOTED: usize = 200;

/// An answer.
pub struct Response {
    host: Rc<dyn Host>,
    url: String,
    raw: RawResponse,
}

impl Response {
    pub(super) fn new(host: Rc<dyn Host>, url: String, raw: RawResponse) -> Self {
        Self { host, url, raw }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.raw.status
    }

    /// A header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.raw.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Who has answered: the URL without its query.
    pub(super) fn address(&self) -> &str {
        address(&self.url)
    }

    /// This answer, if its status is 2xx.
    ///
    /// # Errors
    /// With the beginning of the body: [`Error::Denied`] for 401 and 403, [`Error::NotFound`] for
    /// 404, [`Error::Unavailable`] for 429 and 5xx, else [`Error::Protocol`].
    pub fn ok(self) -> Result<Self, Error> {
        match self.raw.status {
            404 => Err(Error::NotFound),
            _ => self.ok_or(|_| None),
        }
    }

    /// This answer, if its status is 2xx. For registries that say in a form of their own why they
    /// refuse: `reason` finds that in the body.
    ///
    /// # Errors
    /// [`error_of_status`], with the reason or the beginning of the body.
    pub fn ok_or(mut self, reason: impl FnOnce(&[u8]) -> Option<String>) -> Result<Self, Error> {
        let status = self.raw.status;
        if (200..300).contains(&status) {
            return Ok(self);
        }
        let body = self.read_all().unwrap_or_default();
        let text = reason(&body).unwrap_or_else(|| quote(&body));
        let text = format!("{} answered {status}: {text}", self.address());
        Err(error_of_status(status, text))
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it does not end within 10 s, [`Error::Protocol`] if it is too
    /// long.
    pub fn bytes(mut self) -> Result<Vec<u8>, Error> {
        self.read_all()
    }

    /// The whole body, parsed.
    ///
    /// # Errors
    /// As for [`Self::bytes`], and [`Error::Protocol`] if it is not such JSON.
    pub fn json<T: DeserializeOwned>(mut self) -> Result<T, Error> {
        let body = self.read_all()?;
        serde_json::from_slice(&body).map_err(|error| {
            let address = address(&self.url);
            Error::Protocol(format!("the answer of {address} makes no sense: {error}"))
        })
    }

    /// The lines of the body, as they arrive.
    #[must_use]
    pub fn lines(self) -> Lines {
        Lines::new(self.host, self.raw.body)
    }

    fn read_all(&mut self) -> Result<Vec<u8>, Error> {
        let until = self.host.now().saturating_add(BODY_PATIENCE.as_millis());
        // Not one growing buffer: that would need four times the memory of a large answer.
        let mut chunks = Vec::new();
        loop {
            match self.raw.body.read(until)? {
                Chunk::Bytes(bytes) => chunks.push(bytes),
                Chunk::End => return Ok(chunks.concat()),
                Chunk::TimedOut => {
                    let address = address(&self.url);
                    let text =
                        format!("the answer of {address} did not end within {BODY_PATIENCE}");
                    return Err(Error::Unavailable(text));
                }
            }
        }
    }
}

/// The error that a status means: [`Error::Denied`] for 401 and 403, [`Error::Unavailable`] for 429
/// and 5xx, else [`Error::Protocol`].
#[must_use]
pub fn error_of_status(status: u16, text: String) -> Error {
    match status {
        401 | 403 => Error::Denied(text),
        429 | 500..=599 => Error::Unavailable(text),
        _ => Error::Protocol(text),
    }
}

/// The beginning of a body, for people.
fn quote(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text: String = text.trim().chars().take(QUOTED).collect();
    match text.is_empty() {
        true => "no text".to_owned(),
        false => text,
    }
}

/// A URL without its query, which may hold what belongs to nobody else.
fn address(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("url", &self.url)
            .field("status", &self.raw.status)
            .finish_non_exhaustive()
    }
}
