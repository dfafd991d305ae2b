use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::Answer;
use crate::Span;
use crate::discovery::{
    Backend, Body, Chunk, Context, Error, Health, Host, Level, Method, RawRequest, RawResponse,
    Registration, Snapshot, SrvRecord,
};

/// A registry that answers as the script of a test says.
#[derive(Debug, Clone, Default)]
pub struct ScriptedRegistry {
    state: Rc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// For each method and path, the answers that are still to be given.
    answers: RefCell<HashMap<String, VecDeque<Answer>>>,
    requests: RefCell<Vec<String>>,
    logged: RefCell<Vec<String>>,
    now: Rc<Cell<u64>>,
}

/// A backend whose requests a [`ScriptedRegistry`] answers.
#[derive(Debug)]
pub struct ScriptedBackend<B> {
    backend: B,
    context: Context,
}

impl ScriptedRegistry {
    /// A registry without answers: it is unreachable.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers a request to `METHOD /path`, whatever its query. Each answer is given once, in
    /// the order of the script.
    #[must_use]
    pub fn answer(self, route: &str, answer: Answer) -> Self {
        let mut answers = self.state.answers.borrow_mut();
        answers
            .entry(route.to_owned())
            .or_default()
            .push_back(answer);
        drop(answers);
        self
    }

    /// A backend that this registry answers.
    ///
    /// # Errors
    /// The error of [`Backend::new`].
    pub fn backend<B: Backend>(&self, config: B::Config) -> Result<ScriptedBackend<B>, Error> {
        Ok(ScriptedBackend {
            backend: B::new(config)?,
            context: Context::new(self.state.clone()),
        })
    }

    /// The requests so far: `GET authority/path?query`, and the body, if there is one.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.state.requests.borrow().clone()
    }

    /// The lines logged so far.
    #[must_use]
    pub fn logged(&self) -> Vec<String> {
        self.state.logged.borrow().clone()
    }

    /// How long the backend has waited so far.
    #[must_use]
    pub fn waited(&self) -> Span {
        Span::millis(self.state.now.get())
    }
}

impl<B: Backend> ScriptedBackend<B> {
    /// See [`Backend::watch`].
    ///
    /// # Errors
    /// That of the backend.
    pub fn watch(
        &mut self,
        service: &str,
        cursor: Option<&str>,
        patience: Span,
    ) -> Result<Snapshot, Error> {
        self.backend.watch(&self.context, service, cursor, patience)
    }

    /// See [`Backend::register`].
    ///
    /// # Errors
    /// That of the backend.
    pub fn register(&mut self, registration: &Registration) -> Result<(), Error> {
        self.backend.register(&self.context, registration)
    }

    /// See [`Backend::heartbeat`].
    ///
    /// # Errors
    /// That of the backend.
    pub fn heartbeat(&mut self, service: &str, id: &str, health: Health) -> Result<(), Error> {
        self.backend.heartbeat(&self.context, service, id, health)
    }

    /// See [`Backend::deregister`].
    ///
    /// # Errors
    /// That of the backend.
    pub fn deregister(&mut self, service: &str, id: &str) -> Result<(), Error> {
        self.backend.deregister(&self.context, service, id)
    }
}

impl Host for State {
    fn send(&self, request: RawRequest) -> Result<RawResponse, Error> {
        let method = match request.method {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        };
        let body = String::from_utf8_lossy(&request.body);
        let line = format!("{method} {}{} {body}", request.authority, request.path);
        self.requests.borrow_mut().push(line.trim().to_owned());
        let path = request.path.split('?').next().unwrap_or_default();
        let mut answers = self.answers.borrow_mut();
        let answers = answers.get_mut(&format!("{method} {path}"));
        let Some(answer) = answers.and_then(VecDeque::pop_front) else {
            let text = format!("{} does not answer", request.authority);
            return Err(Error::Unavailable(text));
        };
        Ok(RawResponse {
            status: answer.status,
            headers: answer.headers,
            body: Box::new(ScriptedBody {
                chunks: answer.chunks.into(),
                ends: answer.ends,
                now: Rc::clone(&self.now),
            }),
        })
    }

    fn now(&self) -> u64 {
        self.now.get()
    }

    fn sleep(&self, span: Span) {
        self.now.set(self.now.get() + span.as_millis());
    }

    fn log(&self, _: Level, message: &str) {
        self.logged.borrow_mut().push(message.to_owned());
    }

    fn srv(&self, _: &str) -> Result<Vec<SrvRecord>, Error> {
        Err(Error::Unsupported)
    }

    fn addresses(&self, _: &str) -> Result<Vec<String>, Error> {
        Err(Error::Unsupported)
    }
}

struct ScriptedBody {
    chunks: VecDeque<Vec<u8>>,
    ends: bool,
    now: Rc<Cell<u64>>,
}

impl Body for ScriptedBody {
    fn read(&mut self, until: u64) -> Result<Chunk, Error> {
        match self.chunks.pop_front() {
            Some(bytes) => Ok(Chunk::Bytes(bytes)),
            None if self.ends => Ok(Chunk::End),
            None => {
                self.now.set(self.now.get().max(until));
                Ok(Chunk::TimedOut)
            }
        }
    }
}
