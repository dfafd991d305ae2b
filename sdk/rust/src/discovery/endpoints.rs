use super::{Context, Error, Method, Request, Response};

/// The servers of a registry, each as good as another. The one that answered last is asked first,
/// the others in turn where it does not answer, or answers that it cannot (429 and 5xx).
#[derive(Debug)]
pub struct Endpoints {
    urls: Vec<String>,
    current: usize,
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
        for turn in 0..self.urls.len() {
            let index = (self.current + turn) % self.urls.len();
            let url = format!("{}{path}", self.urls[index]);
            match complete(context.request(method, &url)).send() {
                Ok(answer) if matches!(answer.status(), 429 | 500..=599) => {
                    incapable.get_or_insert(answer);
                }
                Ok(answer) => {
                    self.current = index;
                    return Ok(answer);
                }
                Err(Error::Unavailable(text)) => failures.push(text),
                Err(error) => return Err(error),
            }
        }
        incapable.ok_or_else(|| Error::Unavailable(failures.join("; ")))
    }
}
