//! The tracer of a process: what is off before it is installed, what it records then, and what
//! happens where nobody takes the spans. One test, because a process has one tracer.

use hotswap_common::trace::{self, Kind, Sampler, Span, TraceContext, Value};

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
const CAPACITY: usize = 8;

#[tokio::test]
async fn spans_are_recorded_once_a_tracer_is_installed_and_never_wait() {
    let caller: TraceContext = SAMPLED.parse().unwrap();
    let off = Span::continuing(Some(caller), "off", Kind::Server);
    assert_eq!(off.context(), Some(caller), "passed on as it came");
    assert_eq!(Span::continuing(None, "off", Kind::Server).context(), None);
    drop(off);

    let mut spans = trace::install(Sampler::new(0.0, true), CAPACITY, CAPACITY).unwrap();
    assert!(trace::install(Sampler::new(1.0, true), 1, 1).is_none());

    // One trace, from the caller to a child in the same task.
    let mut server = Span::continuing(Some(caller), "answer", Kind::Server);
    server.set("http.response.status_code", 503_u16);
    server.fail(&"no room");
    let context = server.context().unwrap();
    let inner = server.run(async {
        let child = Span::child("inner", Kind::Internal);
        child.context().unwrap()
    });
    let inner = inner.await;
    drop(server);
    let child = spans.take().unwrap();
    assert_eq!((child.context, child.parent), (inner, Some(context)));
    let server = spans.take().unwrap();
    assert_eq!((server.context, server.parent), (context, Some(caller)));
    assert_eq!(server.context.trace_id(), caller.trace_id());
    assert_eq!(server.error.as_deref(), Some("no room"));
    let status = ("http.response.status_code", Value::Number(503));
    assert_eq!(server.attributes, [status]);

    // What is not sampled is passed on, and costs nothing here.
    let caller: TraceContext = UNSAMPLED.parse().unwrap();
    let unsampled = Span::continuing(Some(caller), "unsampled", Kind::Server);
    assert_eq!(unsampled.context(), Some(caller));
    let root = Span::continuing(None, "root", Kind::Server);
    assert!(!root.context().unwrap().is_sampled());
    assert!(Span::child("no parent", Kind::Internal).context().is_none());
    drop((unsampled, root));
    assert!(spans.take().is_none());

    // Another process can name this one's span by its number.
    let caller: TraceContext = SAMPLED.parse().unwrap();
    let first = Span::numbered(Some(caller), 7, "drive").context().unwrap();
    let mut second = Span::numbered(Some(caller), 9, "drive");
    second.link(caller.numbered(7));
    drop(second);
    let _ = spans.take().unwrap();
    assert_eq!(spans.take().unwrap().links, [first]);

    // Nobody takes the spans: further ones are dropped, and counted.
    for _ in 0..CAPACITY + 5 {
        drop(Span::continuing(Some(caller), "many", Kind::Internal));
    }
    assert_eq!(trace::counts().dropped, 5);
    assert_eq!(spans.len(), CAPACITY);
}
