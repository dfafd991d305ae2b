use std::fmt;
use std::rc::Rc;

use super::{Error, Host, Level, Method, Request, SrvRecord};
use crate::Span;

/// What a backend can do: send requests, wait, write to the log. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    host: Rc<dyn Host>,
}

impl Context {
    /// A context that this host answers.
    #[must_use]
    pub fn new(host: Rc<dyn Host>) -> Self {
        Self { host }
    }

    /// Begins a GET request to a URL, `http://host:port/path?query`.
    #[must_use]
    pub fn get(&self, url: &str) -> Request {
        self.request(Method::Get, url)
    }

    /// Begins a POST request.
    #[must_use]
    pub fn post(&self, url: &str) -> Request {
        self.request(Method::Post, url)
    }

    /// Begins a PUT request.
    #[must_use]
    pub fn put(&self, url: &str) -> Request {
        self.request(Method::Put, url)
    }

    /// Begins a request.
    #[must_use]
    pub fn request(&self, method: Method, url: &str) -> Request {
        Request::new(Rc::clone(&self.host), method, url)
    }

    /// Milliseconds since some moment.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.host.now()
    }

    /// Waits.
    pub fn sleep(&self, span: Span) {
        self.host.sleep(span);
    }

    /// The SRV records of a name. Empty if it has none.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if no resolver answers.
    pub fn srv(&self, name: &str) -> Result<Vec<SrvRecord>, Error> {
        self.host.srv(name)
    }

    /// The IP addresses of a name. Empty if it has none.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if no resolver answers, [`Error::Denied`] if the configuration does
    /// not name it.
    pub fn addresses(&self, name: &str) -> Result<Vec<String>, Error> {
        self.host.addresses(name)
    }

    /// Writes a line to the engine's log.
    pub fn log(&self, level: Level, message: impl AsRef<str>) {
        self.host.log(level, message.as_ref());
    }

    /// Writes a line about something that is not as it should be.
    pub fn warn(&self, message: impl AsRef<str>) {
        self.log(Level::Warn, message);
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}
