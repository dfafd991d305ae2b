//! Every way to misbehave ends as it should, with a reason that a person understands.

use hotswap_core::{Call, CauseKind};
use hotswap_plugins::{Exit, Stop};

use crate::script::{Script, attack, host};

/// How a way to misbehave ends.
struct Expected {
    way: &'static str,
    kind: CauseKind,
    message: &'static str,
    /// How many calls it makes before.
    calls: usize,
}

#[tokio::test]
async fn each_attack_ends_with_its_reason() {
    let strategy = host().load(hotswap_guests::HOSTILE).await.unwrap();
    for Expected {
        way,
        kind,
        message,
        calls,
    } in [
        Expected {
            way: "endless-loop",
            kind: CauseKind::Trap,
            message: "the strategy ran for 1 s without a call",
            calls: 0,
        },
        Expected {
            way: "memory-bomb",
            kind: CauseKind::Limit,
            message: "the strategy needs more than 64 MiB of memory",
            calls: 0,
        },
        Expected {
            way: "stack-overflow",
            kind: CauseKind::Trap,
            message: "the strategy crashed: its stack overflowed: it calls itself too deeply",
            calls: 0,
        },
        Expected {
            way: "panic",
            kind: CauseKind::Trap,
            message: "the strategy crashed: panicked at tests/guests/hostile/src/lib.rs:",
            calls: 1,
        },
        Expected {
            way: "no-node",
            kind: CauseKind::Violation,
            message: "the strategy names a node that no plan has: ",
            calls: 0,
        },
        Expected {
            way: "log-flood-at-once",
            kind: CauseKind::Limit,
            message: "the strategy passes more than 1 MiB in one call",
            calls: 0,
        },
        Expected {
            way: "touch-then-loop",
            kind: CauseKind::Trap,
            message: "the strategy ran for 1 s without a call",
            calls: 2,
        },
        Expected {
            way: "touch-then-panic",
            kind: CauseKind::Trap,
            message: "the strategy crashed: panicked at tests/guests/hostile/src/lib.rs:",
            calls: 3,
        },
    ] {
        let mut script = Script::default();
        let Exit::Trapped(cause) = attack(&strategy, way, &mut script).await else {
            panic!("{way} was not ended");
        };
        assert_eq!(cause.kind, kind, "{way}: {cause}");
        assert!(cause.message.starts_with(message), "{way}: {cause}");
        assert_eq!(script.calls.len(), calls, "{way}: {:?}", script.calls);
    }
}

#[tokio::test]
async fn a_panics_text_is_in_the_reason() {
    let strategy = host().load(hotswap_guests::HOSTILE).await.unwrap();
    let Exit::Trapped(cause) = attack(&strategy, "panic", &mut Script::default()).await else {
        panic!("it was not ended");
    };
    assert!(cause.message.ends_with("there is no plan B"), "{cause}");
}

#[tokio::test]
async fn what_the_runner_judges_is_passed_on_as_it_is() {
    let strategy = host().load(hotswap_guests::HOSTILE).await.unwrap();
    let mut script = Script::default();
    let exit = attack(&strategy, "percent-200", &mut script).await;
    assert_eq!(exit, Exit::Succeeded);
    assert!(matches!(
        script.calls.last(),
        Some(Call::Shift { percent: 200, .. })
    ));

    let mut script = Script::default();
    attack(&strategy, "foreign-node", &mut script).await;
    let foreign = vec!["somewhere-else".parse().unwrap()];
    assert_eq!(script.calls, [Call::Stage { nodes: foreign }]);

    let mut script = Script::default();
    attack(&strategy, "log-flood-in-lines", &mut script).await;
    let bytes: usize = script
        .calls
        .iter()
        .map(|call| match call {
            Call::Log { message, .. } => message.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(bytes, 10 << 20);
}

#[tokio::test]
async fn a_run_ends_where_the_calls_end_it() {
    let host = host();
    let strategy = host.load(hotswap_guests::HOSTILE).await.unwrap();
    let cause = hotswap_core::Cause::new(CauseKind::Limit, "10000 calls are enough");
    for stop in [Stop::Suspend, Stop::Fail(cause)] {
        let mut script = Script {
            stop_at: Some((10_000, stop.clone())),
            ..Script::default()
        };
        let exit = attack(&strategy, "endless-calls", &mut script).await;
        assert_eq!(exit, Exit::Stopped(stop));
        assert_eq!(script.calls.len(), 10_001);
        assert_eq!(host.pooled(), 0);
    }
}

#[tokio::test]
async fn a_component_that_asks_something_else_is_seen_by_its_calls() {
    let strategy = host().load(hotswap_guests::HOSTILE).await.unwrap();
    let (mut first, mut again, mut other) =
        (Script::default(), Script::default(), Script::default());
    attack(&strategy, "replay-a", &mut first).await;
    attack(&strategy, "replay-a", &mut again).await;
    attack(&strategy, "replay-b", &mut other).await;
    assert_eq!(first.calls, again.calls);
    assert_ne!(first.calls, other.calls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_loops_on_every_thread_let_others_go_on() {
    let host = host();
    let strategy = host.load(hotswap_guests::HOSTILE).await.unwrap();
    let loops: Vec<_> = (0..4)
        .map(|_| {
            let strategy = strategy.clone();
            tokio::spawn(
                async move { attack(&strategy, "endless-loop", &mut Script::default()).await },
            )
        })
        .collect();
    // They have begun when their instances are there.
    while host.pooled() < 4 {
        tokio::task::yield_now().await;
    }
    let good = tokio::spawn(async move {
        attack(&strategy, "log-flood-in-lines", &mut Script::default()).await
    });
    assert_eq!(good.await.unwrap(), Exit::Succeeded);
    // Each of them computes for a second before it is ended.
    assert!(loops.iter().all(|run| !run.is_finished()));
    for run in loops {
        assert!(matches!(run.await.unwrap(), Exit::Trapped(_)));
    }
}
