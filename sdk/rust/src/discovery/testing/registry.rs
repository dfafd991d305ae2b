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

/// For each name, the answers that are still to be given.
type Script<T> = RefCell<HashMap<String, VecDeque<Result<T, Error>>>>;

#[derive(Debug, Default)]
struct State {
    /// For each method and path, the answers that are still to be given.
    answers: RefCell<HashMap<String, VecDeque<Answer>>>,
    srv: Script<Vec<SrvRecord>>,
    addresses: Script<Vec<String>>,
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

    /// Answers a question for the SRV records of a name. Each answer is given once, in the order
    /// of the script.
    #[must_use]
    pub fn srv(self, name: &str, records: Result<Vec<SrvRecord>, Error>) -> Self {
        let mut all = self.state.srv.borrow_mut();
        all.entry(name.to_owned()).or_default().push_back(records);
        drop(all);
        self
    }

    /// Answers a question for the addresses of a name, as [`Self::srv`].
    #[must_use]
    pub fn addresses(self, name: &str, addresses: Result<Vec<String>, Error>) -> Self {
        let mut all = self.state.addresses.borrow_mut();
        all.entry(name.to_owned()).or_default().push_back(addresses);
        drop(all);
        self
    }

    /// A backend that this registry answers.
    ///
    /// # Errors
    /// The error of [`Backend::new`].
    pub fn backend<B: Backend>(&self, config: B::Config) -> Result<ScriptedBackend<B>, Error> {
        Ok(ScriptedBackend {
            backend: B::new(config)?,
            context: self.context(),
        })
    }

    /// What a backend gets, for tests of its parts: this registry answers it.
    #[must_use]
    pub fn context(&self) -> Context {
        Context::new(self.state.clone())
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

    fn srv(&self, name: &str) -> Result<Vec<SrvRecord>, Error> {
        next(&self.srv, name)
    }

    fn addresses(&self, name: &str) -> Result<Vec<String>, Error> {
        next(&self.addresses, name)
    }
}

fn next<T>(script: &Script<T>, name: &str) -> Result<T, Error> {
    let mut script = script.borrow_mut();
    let answer = script.get_mut(name).and_then(VecDeque::pop_front);
    answer.unwrap_or_else(|| {
        let text = format!("no name server answers what {name} is");
        Err(Error::Unavailable(text))
    })
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
