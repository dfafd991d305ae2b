use std::sync::Arc;

use tokio::time::Instant;

use super::super::fixture::{self, ListedFleet, TestClock};
use super::*;

/// Asks nodes `a` and `b`, of which `b` answers from the `answers_at`-th time on. Returns how
/// often they were asked, and whether `b` answered.
async fn ask(heard: Health, answers_at: u32) -> (u32, bool) {
    let mut fleet = ListedFleet::new(&["a", "b"].map(|id| fixture::node(id, None)));
    fleet.set_health("b", heard);
    fleet.silent_until = Some(("b".parse().unwrap(), answers_at));
    let timers = Timers::new(Arc::new(TestClock::default()));
    let started = Instant::now();
    let nodes = ask_nodes(&fleet, &timers, &fixture::header(), |_| true, |_| true).await;
    let nodes = nodes.unwrap();
    assert!(started.elapsed() <= PATIENCE);
    (fleet.asked(), is_reachable(&nodes[1]))
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_at_first_is_asked_again() {
    assert_eq!(ask(Health::Passing, 1).await, (1, true));
    assert_eq!(ask(Health::Passing, 2).await, (2, true));
    assert_eq!(ask(Health::Critical, 2).await, (2, true));
    assert_eq!(ask(Health::Warning, 3).await, (3, true));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_long_for_a_node_that_is_gone() {
    assert_eq!(ask(Health::Critical, 9).await, (2, false));
    let (asked, answered) = ask(Health::Passing, u32::MAX).await;
    assert!(asked > 2 && !answered, "{asked}");
}

/// A driver tries again. That nodes are silent would end its deployment.
#[tokio::test(start_paused = true)]
async fn that_this_machine_cannot_ask_is_no_silence_of_nodes() {
    let mut fleet = ListedFleet::new(&[fixture::node("a", None)]);
    fleet.has_local_fault = true;
    let timers = Timers::new(Arc::new(TestClock::default()));
    let asked = ask_nodes(&fleet, &timers, &fixture::header(), |_| true, |_| true).await;
    assert!(matches!(asked, Err(Error::Nodes(_))), "{asked:?}");
    assert_eq!(fleet.asked(), 1);
}
