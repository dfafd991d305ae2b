use hotswap_core::{EventBody, Policy};

use super::super::fixture::TestClock;
use super::*;

const HOUR: i64 = 3600;

fn timers() -> (Arc<TestClock>, Timers) {
    let clock = Arc::new(TestClock::default());
    let timers = Timers::new(Arc::clone(&clock) as Arc<_>);
    (clock, timers)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test(start_paused = true)]
async fn a_step_of_the_wall_clock_moves_no_wait_that_has_begun() {
    for step in [60, -HOUR, 24 * HOUR] {
        let (clock, timers) = timers();
        let due = clock.now() + seconds(5);
        timers.begin_call(3, due, seconds(5));
        let approval = timers.approval(due, seconds(5));
        clock.step(step);
        tokio::time::advance(seconds(2)).await;
        let call = timers.call(3, due, seconds(5));
        for end in [call, approval, timers.approval(due, seconds(5))] {
            assert_eq!(timers.left(end), seconds(3), "{step} s");
        }
        let before = tokio::time::Instant::now();
        timers.sleep_until(call).await;
        assert_eq!(before.elapsed(), seconds(3), "{step} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_resumed_takes_what_the_wall_clock_says_is_left() {
    let (clock, timers) = timers();
    let due = clock.now() + seconds(3);
    let end = timers.call(0, due, seconds(5));
    assert_eq!(timers.left(end), seconds(3));
    // The next call has a wait of its own.
    let next = timers.call(1, due, seconds(5));
    clock.step(60);
    let after = timers.call(2, due, seconds(5));
    assert_eq!(
        (timers.left(next), timers.left(after)),
        (seconds(3), seconds(0))
    );
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_before_a_restart_lengthens_no_wait_beyond_its_length() {
    let (clock, timers) = timers();
    let due = clock.now() + seconds(5);
    clock.step(-HOUR);
    let call = timers.call(0, due, seconds(5));
    let approval = timers.approval(due, seconds(7));
    assert_eq!(timers.left(call), seconds(5));
    assert_eq!(timers.left(approval), seconds(7));
}

#[test]
fn each_engine_has_the_whole_patience_to_revert_until_a_day_has_passed() {
    let (clock, timers) = timers();
    let patience = seconds(60);
    assert_eq!(timers.revert_patience(None, patience), patience);
    let began = Some(clock.now());
    // The engine was down for an hour, and a step back changes nothing.
    for step in [HOUR, -2 * HOUR] {
        clock.step(step);
        assert_eq!(timers.revert_patience(began, patience), patience);
    }
    clock.step(26 * HOUR);
    assert_eq!(timers.revert_patience(began, patience), seconds(10));
    assert_eq!(timers.revert_patience(began, seconds(1)), seconds(1));
}

fn deadline(clock: &TestClock, pause_stops_deadline: bool) -> Deadline {
    let mut deadline = Deadline::new(&Policy {
        deadline: seconds(20),
        pause_stops_deadline,
        ..Policy::default_for(&"production".parse().unwrap())
    });
    deadline.apply(
        clock.now(),
        &EventBody::Planned {
            nodes: Vec::new(),
            missing: Vec::new(),
            cordoned: Vec::new(),
        },
    );
    deadline
}

#[tokio::test(start_paused = true)]
async fn a_step_of_the_wall_clock_moves_no_deadline() {
    for step in [60, -HOUR, 24 * HOUR] {
        let (clock, timers) = timers();
        let deadline = deadline(&clock, true);
        assert_eq!(timers.left(timers.deadline(&deadline)), seconds(20));
        clock.step(step);
        tokio::time::advance(seconds(19)).await;
        assert_eq!(timers.left(timers.deadline(&deadline)), seconds(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_a_pause_stops_keeps_what_is_left_whatever_the_wall_clock_does() {
    let (clock, timers) = timers();
    let mut deadline = deadline(&clock, true);
    timers.deadline(&deadline);
    tokio::time::advance(seconds(5)).await;
    let by = "ada".to_owned();
    deadline.apply(
        clock.now(),
        &EventBody::Paused {
            by: by.clone(),
            reason: None,
        },
    );
    assert_eq!(timers.deadline(&deadline), End::NEVER);
    tokio::time::advance(seconds(1000)).await;
    clock.step(-HOUR);
    assert_eq!(timers.deadline(&deadline), End::NEVER);
    deadline.apply(clock.now(), &EventBody::Resumed { by });
    assert_eq!(timers.left(timers.deadline(&deadline)), seconds(15));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_resumes_a_paused_deployment_keeps_its_stopped_deadline() {
    let (clock, before) = timers();
    let mut deadline = deadline(&clock, true);
    before.deadline(&deadline);
    tokio::time::advance(seconds(5)).await;
    let by = "ada".to_owned();
    deadline.apply(
        clock.now(),
        &EventBody::Paused {
            by: by.clone(),
            reason: None,
        },
    );
    let restarted = Timers::new(Arc::clone(&clock) as Arc<_>);
    tokio::time::advance(seconds(1000)).await;
    assert_eq!(restarted.deadline(&deadline), End::NEVER);
    deadline.apply(clock.now(), &EventBody::Resumed { by });
    assert_eq!(restarted.left(restarted.deadline(&deadline)), seconds(15));
}

#[tokio::test(start_paused = true)]
async fn a_pause_does_not_stop_the_deadline_where_the_policy_lets_it_run() {
    let (clock, timers) = timers();
    let mut deadline = deadline(&clock, false);
    timers.deadline(&deadline);
    let by = "ada".to_owned();
    deadline.apply(clock.now(), &EventBody::Paused { by, reason: None });
    tokio::time::advance(seconds(20)).await;
    assert!(timers.has_passed(timers.deadline(&deadline)));
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_strategy_is_told_does_not_step() {
    let (clock, timers) = timers();
    let before = timers.steady_now();
    clock.step(-HOUR);
    tokio::time::advance(seconds(7)).await;
    assert_eq!(timers.steady_now(), before + seconds(7));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_longer_than_the_clock_reaches_never_ends() {
    let (_, timers) = timers();
    for end in [
        timers.after(Duration::MAX),
        timers.approval(Timestamp::MAX, Duration::MAX),
    ] {
        assert_eq!(timers.left(end), Duration::MAX);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_with_another_due_time_is_another_one() {
    let (clock, timers) = timers();
    let (due, later) = (clock.now() + seconds(5), clock.now() + seconds(9));
    timers.begin_call(0, due, seconds(5));
    let call = |due| timers.left(timers.call(0, due, seconds(20)));
    assert_eq!((call(due), call(later)), (seconds(5), seconds(9)));
    let approval = |due| timers.left(timers.approval(due, seconds(20)));
    assert_eq!((approval(due), approval(later)), (seconds(5), seconds(9)));
}

/// The pause and its end were read at once: no driver ran meanwhile, or another engine's did.
#[tokio::test(start_paused = true)]
async fn a_deadline_that_a_pause_has_moved_unseen_moves_by_as_much() {
    let (clock, timers) = timers();
    let mut deadline = deadline(&clock, true);
    timers.deadline(&deadline);
    tokio::time::advance(seconds(5)).await;
    let by = "ada".to_owned();
    let paused = EventBody::Paused {
        by: by.clone(),
        reason: None,
    };
    deadline.apply(clock.now(), &paused);
    tokio::time::advance(seconds(3)).await;
    deadline.apply(clock.now(), &EventBody::Resumed { by });
    assert_eq!(timers.left(timers.deadline(&deadline)), seconds(15));
    // From here on it is measured, as before.
    clock.step(-HOUR);
    assert_eq!(timers.left(timers.deadline(&deadline)), seconds(15));
}
