//! Every kind of misbehaviour ends the run, with a reason that a person understands.

use hotswap_core::{Call, CauseKind};
use hotswap_plugins::{Exit, Stop};

use serde_json::json;

use crate::script::{Script, host, plan, run_attack};

/// How one attack of the hostile strategy ends.
struct Expected {
    attack: &'static str,
    kind: CauseKind,
    /// How the message of the cause begins.
    message: &'static str,
    /// How many calls the strategy makes before it ends.
    calls: usize,
}

#[tokio::test]
async fn each_attack_ends_the_run_with_its_reason() {
    let strategy = host().load(hotswap_guests::HOSTILE).await.unwrap();
    for Expected {
        attack,
        kind,
        message,
        calls,
    } in [
        Expected {
            attack: "endless-loop",
            kind: CauseKind::Trap,
            message: "the strategy ran 1000 million instructions without a call",
            calls: 0,
        },
        Expected {
            attack: "memory-bomb",
            kind: CauseKind::Limit,
            message: "the strategy needs more than 64 MiB of memory",
            calls: 0,
        },
        Expected {
            attack: "stack-overflow",
            kind: CauseKind::Trap,
            message: "the strategy crashed: stack overflow: the call depth is too large",
            calls: 0,
        },
        Expected {
            attack: "panic",
            kind: CauseKind::Trap,
            message: "the strategy crashed: panicked at tests/guests/hostile/src/lib.rs:",
            calls: 1,
        },
        Expected {
            attack: "no-node",
            kind: CauseKind::Violation,
            message: "the strategy names a node that is not in its plan: ",
            calls: 0,
        },
        Expected {
            attack: "log-flood-at-once",
            kind: CauseKind::Limit,
            message: "the strategy passes more than 1 MiB in one call",
            calls: 0,
        },
        Expected {
            attack: "touch-then-loop",
            kind: CauseKind::Trap,
            message: "the strategy ran 1000 million instructions without a call",
            calls: 2,
        },
        Expected {
            attack: "touch-then-panic",
            kind: CauseKind::Trap,
            message: "the strategy crashed: panicked at tests/guests/hostile/src/lib.rs:",
            calls: 3,
        },
    ] {
        let mut script = Script::default();
        let Exit::Trapped(cause) = run_attack(&strategy, attack, &mut script).await else {
            panic!("{attack} was not ended");
        };
        assert_eq!(cause.kind, kind, "{attack}: {cause}");
        assert!(cause.message.starts_with(message), "{attack}: {cause}");
        assert_eq!(script.calls.len(), calls, "{attack}: {:?}", script.calls);
    }
}

#[tokio::test]
async fn reason_contains_the_text_of_a_panic() {
    let strategy = host().load(hotswap_guests::HOSTILE).await.unwrap();
    let Exit::Trapped(cause) = run_attack(&strategy, "panic", &mut Script::default()).await else {
        panic!("the run was not ended");
    };
    assert!(cause.message.ends_with("there is no plan B"), "{cause}");
}

#[tokio::test]
async fn calls_that_the_runner_must_judge_are_passed_on_unchanged() {
    let strategy = host().load(hotswap_guests::HOSTILE).await.unwrap();
    let mut script = Script::default();
    let exit = run_attack(&strategy, "percent-200", &mut script).await;
    assert_eq!(exit, Exit::Succeeded);
    assert!(matches!(
        script.calls.last(),
        Some(Call::Shift { percent: 200, .. })
    ));

    let mut script = Script::default();
    run_attack(&strategy, "foreign-node", &mut script).await;
    let foreign = vec!["somewhere-else".parse().unwrap()];
    assert_eq!(script.calls, [Call::Stage { nodes: foreign }]);

    let mut script = Script::default();
    run_attack(&strategy, "log-flood-in-lines", &mut script).await;
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
async fn handler_can_end_a_run_at_any_call() {
    let host = host();
    let strategy = host.load(hotswap_guests::HOSTILE).await.unwrap();
    let cause = hotswap_core::Cause::new(CauseKind::Limit, "10000 calls are enough");
    for stop in [Stop::Suspend, Stop::Fail(cause)] {
        let mut script = Script {
            stop_at: Some((10_000, stop.clone())),
            ..Script::default()
        };
        let exit = run_attack(&strategy, "endless-calls", &mut script).await;
        assert_eq!(exit, Exit::Stopped(stop));
        assert_eq!(script.calls.len(), 10_001);
        assert_eq!(host.pooled_instances(), 0);
    }
}

#[tokio::test]
async fn calls_show_whether_a_run_repeats_another() {
    let strategy = host().load(hotswap_guests::HOSTILE).await.unwrap();
    let (mut first, mut same, mut different) =
        (Script::default(), Script::default(), Script::default());
    run_attack(&strategy, "replay-a", &mut first).await;
    run_attack(&strategy, "replay-a", &mut same).await;
    run_attack(&strategy, "replay-b", &mut different).await;
    assert_eq!(first.calls, same.calls);
    assert_ne!(first.calls, different.calls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_loops_on_every_thread_do_not_block_other_runs() {
    let host = host();
    let strategy = host.load(hotswap_guests::HOSTILE).await.unwrap();
    let loops: Vec<_> = (0..4)
        .map(|_| {
            let strategy = strategy.clone();
            tokio::spawn(async move {
                let config = strategy.configure(Some(json!({ "attack": "endless-loop" })));
                let mut plan = plan(&config.unwrap().to_string());
                // They must last longer than the other run, however busy the machine is.
                plan.limits.fuel = u64::MAX;
                plan.limits.total_fuel = u64::MAX;
                strategy.run(&plan, &mut Script::default()).await
            })
        })
        .collect();
    // A run has started when its instance exists.
    while host.pooled_instances() < 4 {
        tokio::task::yield_now().await;
    }
    let other = tokio::spawn(async move {
        run_attack(&strategy, "log-flood-in-lines", &mut Script::default()).await
    });
    assert_eq!(other.await.unwrap(), Exit::Succeeded);
    for run in loops {
        assert!(!run.is_finished());
        run.abort();
        assert!(run.await.unwrap_err().is_cancelled());
    }
}
