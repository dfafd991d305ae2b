//! Samplers that do not follow the caller's decision. A process has one tracer, so each runs in a
//! process of its own: this one starts itself again.

use std::process::Command;

use hotswap_common::trace::{self, Kind, Sampler, Span, TraceContext};

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
/// The test that the child runs.
const CHILD: &str = "HOTSWAP_TEST_SAMPLER";

/// Runs `test` in a process of its own.
fn in_a_process(name: &str, test: impl FnOnce()) {
    if std::env::var(CHILD).is_ok_and(|child| child == name) {
        return test();
    }
    let program = std::env::current_exe().unwrap();
    let mut child = Command::new(program);
    let output = child.args(["--exact", name]).env(CHILD, name).output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
fn a_sampler_that_takes_nothing_records_nothing_of_a_caller_who_samples() {
    in_a_process(
        "a_sampler_that_takes_nothing_records_nothing_of_a_caller_who_samples",
        || {
            let caller: TraceContext = SAMPLED.parse().unwrap();
            let mut spans = trace::install(Sampler::new(0.0, false), 8, 8).unwrap();
            let span = Span::continuing(Some(caller), "answer", Kind::Server);
            assert!(!span.is_recorded());
            let context = span.context().unwrap();
            assert_eq!(context.trace_id(), caller.trace_id());
            assert!(!context.is_sampled(), "later spans must not be sampled");
            assert!(!Span::numbered(Some(caller), 7, "drive").is_recorded());
            drop(span);
            assert!(spans.take().is_none());
        },
    );
}

#[test]
fn a_sampler_that_takes_all_records_what_a_caller_does_not_sample() {
    in_a_process(
        "a_sampler_that_takes_all_records_what_a_caller_does_not_sample",
        || {
            let caller: TraceContext = UNSAMPLED.parse().unwrap();
            let mut spans = trace::install(Sampler::new(1.0, false), 8, 8).unwrap();
            for span in [
                Span::continuing(Some(caller), "answer", Kind::Server),
                Span::numbered(Some(caller), 7, "drive"),
            ] {
                assert!(span.is_recorded() && span.context().unwrap().is_sampled());
                drop(span);
                let ended = spans.take().unwrap();
                assert_eq!(ended.parent, Some(caller));
                assert_ne!(ended.context.span_id(), caller.span_id());
            }
        },
    );
}
