//! Connects a strategy with the imports and exports of its component.

use std::panic;
use std::rc::Rc;

use crate::bindings::exports::hotswap::strategy::guest;
use crate::bindings::hotswap::strategy::{analysis, control, fleet};
use crate::control::truncate;
use crate::{
    Check, Control, Decision, Fleet, Host, Level, Node, NodeResult, Plan, Probe, Span, Strategy,
    Verdict,
};

/// The engine, called through the component's imports.
struct Engine;

/// Runs a strategy. The engine answers its calls.
///
/// # Errors
/// The error of the strategy, as text.
pub fn run<S: Strategy>(plan: guest::Plan) -> Result<(), String> {
    log_panics();
    let host: Rc<dyn Host> = Rc::new(Engine);
    Plan::try_from(plan)
        .and_then(|plan| S::run(&plan, &Fleet::new(Rc::clone(&host)), &Control::new(host)))
        .map_err(|error| error.to_string())
}

/// Logs the message of a panic. A panic ends in a trap, which carries no text, and a component
/// has no standard error stream: only the log takes the message to a person.
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let place = match info.location() {
            Some(place) => format!(" at {}:{}", place.file(), place.line()),
            None => String::new(),
        };
        let text = info.payload_as_str().unwrap_or("no message");
        control::log(
            Level::Error,
            truncate(&format!("the strategy panicked{place}: {text}")),
        );
    }));
}

impl Host for Engine {
    fn nodes(&self) -> Vec<Node> {
        fleet::nodes()
    }

    fn stage(&self, nodes: &[String]) -> Vec<NodeResult> {
        fleet::stage(nodes)
    }

    fn shift(&self, nodes: &[String], percent: u8) -> Vec<NodeResult> {
        fleet::shift(nodes, percent)
    }

    fn promote(&self, nodes: &[String]) -> Vec<NodeResult> {
        fleet::promote(nodes)
    }

    fn revert(&self, nodes: &[String]) -> Vec<NodeResult> {
        fleet::revert(nodes)
    }

    fn probe(&self, nodes: &[String], probe: &Probe) -> Vec<NodeResult> {
        fleet::probe(nodes, &probe.into())
    }

    fn soak(
        &self,
        window: Span,
        canary: &[String],
        baseline: &[String],
        checks: &[Check],
    ) -> Verdict {
        let checks: Vec<analysis::Check> = checks.iter().map(Into::into).collect();
        analysis::soak(window.as_millis(), canary, baseline, &checks).into()
    }

    fn now(&self) -> u64 {
        control::now()
    }

    fn sleep(&self, span: Span) {
        control::sleep(span.as_millis());
    }

    fn approval(&self, prompt: &str, timeout: Span) -> Decision {
        control::approval(prompt, timeout.as_millis())
    }

    fn progress(&self, stage: &str, percent: u8) {
        control::progress(stage, percent);
    }

    fn log(&self, level: Level, message: &str) {
        control::log(level, message);
    }
}
