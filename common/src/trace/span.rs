use std::borrow::Cow;
use std::time::{Duration, Instant, SystemTime};

use tokio::task::futures::TaskLocalFuture;

use super::tracer::tracer;
use super::{TraceContext, current, within};

/// Characters of a text in a span.
const MAX_TEXT: usize = 256;

/// Something that this program does, from its creation until it is dropped.
///
/// It is recorded where tracing is on and its trace is sampled. Otherwise it only carries the
/// context on.
#[derive(Debug)]
pub struct Span {
    context: Option<TraceContext>,
    recorded: Option<Box<Recorded>>,
}

#[derive(Debug)]
struct Recorded {
    span: FinishedSpan,
    started: Instant,
}

/// A span that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedSpan {
    /// Its trace and its id.
    pub context: TraceContext,
    /// The span that caused it. `None` for the first of a trace.
    pub parent: Option<TraceContext>,
    /// What it is, from a small set of names.
    pub name: Cow<'static, str>,
    /// On which side of a request it stands.
    pub kind: Kind,
    /// When it began.
    pub start: SystemTime,
    /// How long it took, by a clock that is never set.
    pub duration: Duration,
    /// What distinguishes it from others of its name.
    pub attributes: Vec<(&'static str, Value)>,
    /// Spans that are related and no parents.
    pub links: Vec<TraceContext>,
    /// Why it failed.
    pub error: Option<String>,
}

/// On which side of a request a span stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// On none.
    Internal,
    /// It answers a request.
    Server,
    /// It sends a request.
    Client,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text that the program contains.
    Static(&'static str),
    /// Another text.
    Text(String),
    /// A number.
    Number(i64),
}

impl Span {
    /// A span whose parent is `parent`, or the first one of a new trace.
    pub fn continuing(
        parent: Option<TraceContext>,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
    ) -> Self {
        let Some(tracer) = tracer() else {
            return Self::carrying(parent);
        };
        Self::record(tracer.next(parent), parent, name, kind)
    }

    /// A span whose parent is the current one. Not recorded where there is none: what nobody
    /// traces begins no trace of its own.
    pub fn child(name: impl Into<Cow<'static, str>>, kind: Kind) -> Self {
        match current() {
            Some(parent) => Self::continuing(Some(parent), name, kind),
            None => Self::carrying(None),
        }
    }

    /// A span that has the id of [`TraceContext::numbered`] in the trace of `parent`.
    pub fn numbered(
        parent: Option<TraceContext>,
        number: u64,
        name: impl Into<Cow<'static, str>>,
    ) -> Self {
        match tracer().zip(parent) {
            Some((tracer, parent)) if tracer.samples(parent) => {
                let context = parent.numbered(number).sampled(true);
                Self::record(context, Some(parent), name, Kind::Internal)
            }
            Some((_, parent)) => Self::carrying(Some(parent.sampled(false))),
            None => Self::carrying(parent),
        }
    }

    /// A span that is not recorded.
    fn carrying(context: Option<TraceContext>) -> Self {
        let recorded = None;
        Self { context, recorded }
    }

    fn record(
        context: TraceContext,
        parent: Option<TraceContext>,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
    ) -> Self {
        let recorded = context.is_sampled().then(|| {
            let span = FinishedSpan {
                context,
                parent,
                name: name.into(),
                kind,
                start: now(),
                duration: Duration::ZERO,
                attributes: Vec::new(),
                links: Vec::new(),
                error: None,
            };
            let started = Instant::now();
            Box::new(Recorded { span, started })
        });
        Self {
            context: Some(context),
            recorded,
        }
    }

    /// What this span gives to those that it causes.
    pub fn context(&self) -> Option<TraceContext> {
        self.context
    }

    /// Whether somebody will see it. Attributes that cost something need not be made otherwise.
    pub fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }

    /// Names the span anew, where its name is known only at its end.
    pub fn set_name(&mut self, name: impl FnOnce() -> String) {
        if let Some(recorded) = &mut self.recorded {
            recorded.span.name = Cow::Owned(name());
        }
    }

    /// Adds an attribute. Never pass a secret, a query or a body.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(recorded) = &mut self.recorded {
            recorded.span.attributes.push((key, value.into()));
        }
    }

    /// Adds an attribute with the text of a value, truncated.
    pub fn set_text(&mut self, key: &'static str, value: &impl ToString) {
        if let Some(recorded) = &mut self.recorded {
            let text = truncate(value.to_string());
            recorded.span.attributes.push((key, Value::Text(text)));
        }
    }

    /// Links to another span.
    pub fn link(&mut self, other: TraceContext) {
        if let Some(recorded) = &mut self.recorded {
            recorded.span.links.push(other);
        }
    }

    /// Says that it failed.
    pub fn fail(&mut self, reason: &impl ToString) {
        if let Some(recorded) = &mut self.recorded {
            recorded.span.error = Some(truncate(reason.to_string()));
        }
    }

    /// Whether it is recorded, and has failed.
    pub fn has_failed(&self) -> bool {
        let recorded = self.recorded.as_ref();
        recorded.is_some_and(|recorded| recorded.span.error.is_some())
    }

    /// Says that it failed, where it did.
    pub fn fail_on_error<T, E: ToString>(&mut self, result: &Result<T, E>) {
        if let Err(error) = result {
            self.fail(error);
        }
    }

    /// Runs a future with this span as the current one.
    pub fn run<F: Future>(&self, future: F) -> TaskLocalFuture<Option<TraceContext>, F> {
        within(self.context, future)
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some((tracer, mut recorded)) = tracer().zip(self.recorded.take()) {
            recorded.span.duration = recorded.started.elapsed();
            tracer.end(recorded.span);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "spans are shown beside those of other programs; nothing is decided by them"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

fn truncate(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(end);
    }
    text
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Static(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}
