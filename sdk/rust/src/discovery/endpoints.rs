use super::{Context, Error, Method, Request, Response};
use crate::Span;

/// How long servers that may hang are waited for together, before the last one is asked. A call of
/// a backend must have the time to ask that one, too.
const HURRIED: Span = Span::secs(4);

/// The shortest and the longest wait for one of them.
const MIN_HURRIED: Span = Span::millis(500);
const MAX_HURRIED: Span = Span::secs(2);

/// The servers of a registry, each as good as another. The one that answered last is asked first,
/// the others in turn where it does not answer, or answers that it cannot (429 and 5xx).
///
/// A server that has not answered yet is waited for up to two seconds where there is another one
/// left to ask: one that hangs must not use up the time of the call.
#[derive(Debug)]
pub struct Endpoints {
    urls: Vec<String>,
    current: usize,
    /// Whether the current one has answered.
    has_answered: bool,
}

impl Endpoints {
    /// Servers by their URLs, which the setting `setting` names.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if there is none, with what to write.
    pub fn new(setting: &str, urls: Vec<String>) -> Result<Self, Error> {
        if urls.is_empty() {
            let text =
                format!("{setting} is empty: name at least one, such as http://127.0.0.1:80");
            return Err(Error::InvalidConfig(text));
        }
        let urls = urls.iter().map(|url| url.trim_end_matches('/').to_owned());
        Ok(Self {
            urls: urls.collect(),
            current: 0,
            has_answered: false,
        })
    }

    /// Sends a request to the first server that answers. `complete` adds what it needs besides the
    /// method and the path.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if none answers, with the reason of each. Others as for
    /// [`Request::send`].
    pub fn ask(
        &mut self,
        context: &Context,
        method: Method,
        path: &str,
        complete: impl Fn(Request) -> Request,
    ) -> Result<Response, Error> {
        let mut failures = Vec::new();
        let mut incapable = None;
        let count = self.urls.len();
        for turn in 0..count {
            let index = (self.current + turn) % count;
            let url = format!("{}{path}", self.urls[index]);
            let mut request = complete(context.request(method, &url));
            let is_known = turn == 0 && self.has_answered;
            if turn + 1 < count && !is_known {
                request = request.hurried(share(HURRIED, count));
            }
            match request.send() {
                Ok(answer) if matches!(answer.status(), 429 | 500..=599) => {
                    incapable.get_or_insert(answer);
                }
                Ok(answer) => {
                    self.current = index;
                    self.has_answered = true;
                    return Ok(answer);
                }
                Err(Error::Unavailable(text)) => failures.push(text),
                Err(error) => return Err(error),
            }
        }
        self.has_answered = false;
        incapable.ok_or_else(|| Error::Unavailable(failures.join("; ")))
    }
}

/// The wait for one of so many servers.
fn share(all: Span, count: usize) -> Span {
    let share = all.as_millis() / u64::try_from(count).unwrap_or(u64::MAX).max(1);
    Span::millis(share).clamp(MIN_HURRIED, MAX_HURRIED)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::discovery::{Body, Chunk};
    use crate::discovery::{Host, Level, RawRequest, RawResponse, SrvRecord};

    /// A registry of which these servers answer. Keeps for whom it was waited how long, in
    /// milliseconds: for the connection, and for the answer.
    struct Servers {
        answering: RefCell<Vec<&'static str>>,
        waits: RefCell<Vec<(String, u64, u64)>>,
    }

    struct Empty;

    impl Body for Empty {
        fn read(&mut self, _: u64) -> Result<Chunk, Error> {
            Ok(Chunk::End)
        }
    }

    impl Host for Servers {
        fn send(&self, request: RawRequest) -> Result<RawResponse, Error> {
            let waits = (request.connect.as_millis(), request.patience.as_millis());
            let name = request.authority.clone();
            self.waits.borrow_mut().push((name, waits.0, waits.1));
            match self.answering.borrow().contains(&&*request.authority) {
                true => Ok(RawResponse {
                    status: 200,
                    headers: Vec::new(),
                    body: Box::new(Empty),
                }),
                false => Err(Error::Unavailable("it hangs".to_owned())),
            }
        }

        fn now(&self) -> u64 {
            0
        }

        fn sleep(&self, _: Span) {}

        fn log(&self, _: Level, _: &str) {}

        fn srv(&self, _: &str) -> Result<Vec<SrvRecord>, Error> {
            Ok(Vec::new())
        }

        fn addresses(&self, _: &str) -> Result<Vec<String>, Error> {
            Ok(Vec::new())
        }
    }

    fn endpoints(names: &[&str]) -> Endpoints {
        let urls = names.iter().map(|name| format!("http://{name}"));
        Endpoints::new("endpoints", urls.collect()).expect("some")
    }

    /// Asks, and returns for whom it was waited how long.
    fn ask(
        servers: &Rc<Servers>,
        endpoints: &mut Endpoints,
        patience: Option<Span>,
    ) -> Vec<(String, u64, u64)> {
        let context = Context::new(servers.clone());
        let answer = endpoints.ask(&context, Method::Get, "/", |request| match patience {
            Some(patience) => request.patience(patience),
            None => request,
        });
        drop(answer);
        servers.waits.take()
    }

    fn servers(answering: &[&'static str]) -> Rc<Servers> {
        Rc::new(Servers {
            answering: RefCell::new(answering.to_vec()),
            waits: RefCell::default(),
        })
    }

    fn wait(name: &str, connect: u64, answer: u64) -> (String, u64, u64) {
        (name.to_owned(), connect, answer)
    }

    #[test]
    fn a_server_that_has_not_answered_is_waited_for_shortly_where_there_is_another() {
        let registry = servers(&["c"]);
        let mut three = endpoints(&["a", "b", "c"]);
        let first = ask(&registry, &mut three, None);
        let hurried = |name| wait(name, 1333, 1333);
        assert_eq!(first, [hurried("a"), hurried("b"), wait("c", 5000, 5000)]);
        // One that has answered may be slow. Where it hangs now, the next ones are hurried.
        registry.answering.replace(vec!["b"]);
        let then = ask(&registry, &mut three, None);
        let expected = [wait("c", 5000, 5000), hurried("a"), wait("b", 5000, 5000)];
        assert_eq!(then, expected);
        // Where none has answered, none is known.
        registry.answering.take();
        ask(&registry, &mut three, None);
        assert_eq!(ask(&registry, &mut three, None)[0], hurried("b"));
    }

    #[test]
    fn the_only_server_is_waited_for_and_many_share_the_time() {
        let registry = servers(&[]);
        let one = ask(&registry, &mut endpoints(&["a"]), None);
        assert_eq!(one, [wait("a", 5000, 5000)]);
        let two = ask(&registry, &mut endpoints(&["a", "b"]), None);
        assert_eq!(two[0], wait("a", 2000, 2000));
        let many = ask(&registry, &mut endpoints(&["a"; 20]), None);
        assert_eq!(many[0], wait("a", 500, 500));
    }

    /// A long wait is one for a change, which no server can hurry.
    #[test]
    fn who_waits_for_a_change_waits_for_it_and_connects_in_a_hurry() {
        let registry = servers(&[]);
        let long = Some(Span::secs(65));
        let two = ask(&registry, &mut endpoints(&["a", "b"]), long);
        assert_eq!(two, [wait("a", 2000, 65_000), wait("b", 5000, 65_000)]);
        let at_once = ask(&registry, &mut endpoints(&["a", "b"]), Some(Span::secs(5)));
        assert_eq!(at_once[0], wait("a", 2000, 2000));
    }
}
