//! Fuel ends a run at the same instruction every time, and never before a call that the
//! journal holds.

use std::thread;

use hotswap_core::{Call, CauseKind, StrategyLimits};
use hotswap_plugins::{Exit, Plan, Strategy};

use crate::component::HandmadeStrategy;
use crate::script::{Script, host, plan};

/// A strategy that runs `millions` of instructions, then asks for the time.
async fn computing(millions: u32) -> Strategy {
    // A turn of the loop has five instructions.
    let turns = millions * 200_000;
    let run = format!(
        "(local.set 0 (i32.const {turns}))
         (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
         (drop (call $now))"
    );
    let handmade = HandmadeStrategy {
        imports: r#"(import "hotswap:strategy/control@0.1.0" "now" (func $now (result i64)))"#,
        run: &run,
        ..HandmadeStrategy::default()
    };
    host().load(&handmade.component()).await.unwrap()
}

fn plan_with_fuel(fuel: u64) -> Plan {
    let limits = StrategyLimits {
        fuel,
        ..StrategyLimits::default()
    };
    Plan {
        limits,
        ..plan("{}")
    }
}

/// Runs with 20 million units of fuel between two calls. Returns how the run ended, and its
/// calls.
async fn run(strategy: &Strategy, is_replaying: bool) -> (Exit, Vec<Call>) {
    let mut script = Script {
        is_replaying,
        ..Script::default()
    };
    let exit = strategy.run(&plan_with_fuel(20_000_000), &mut script).await;
    (exit, script.calls)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_ends_at_the_same_instruction_however_busy_the_machine_is() {
    let (within, beyond) = (computing(19).await, computing(21).await);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    // More threads than processors compute beside the runs.
    let busy: Vec<_> = (0..8)
        .map(|_| {
            let stop = std::sync::Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    std::hint::black_box(0);
                }
            })
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(
            run(&within, false).await,
            (Exit::Succeeded, vec![Call::Now])
        );
        let (exit, calls) = run(&beyond, false).await;
        let Exit::Trapped(cause) = exit else {
            panic!("{exit:?}");
        };
        assert_eq!(calls, []);
        assert_eq!(
            cause.message,
            "the strategy ran 20 million instructions without a call"
        );
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    busy.into_iter().for_each(|thread| thread.join().unwrap());
}

#[tokio::test]
async fn a_replay_reaches_the_call_that_the_journal_holds() {
    let beyond = computing(21).await;
    assert_eq!(run(&beyond, true).await, (Exit::Succeeded, vec![Call::Now]));
    let endless = HandmadeStrategy {
        run: "(loop $l (br $l))",
        ..HandmadeStrategy::default()
    };
    let endless = host().load(&endless.component()).await.unwrap();
    let (exit, _) = run(&endless, true).await;
    assert!(matches!(exit, Exit::Trapped(_)), "{exit:?}");
}

/// One instruction can write all of the memory: it costs as much as writing it byte by byte.
#[tokio::test]
async fn an_instruction_that_fills_memory_costs_a_unit_for_each_byte() {
    let filling = HandmadeStrategy {
        run: "(local.set 1 (i32.const 0))
            (loop $l
                (memory.fill (i32.const 0) (i32.const 0) (i32.const 1048576))
                (local.set 1 (i32.add (local.get 1) (i32.const 1)))
                (br_if $l (i32.lt_u (local.get 1) (i32.const 30))))",
        pages: 17,
        ..HandmadeStrategy::default()
    };
    let filling = host().load(&filling.component()).await.unwrap();
    let (exit, _) = run(&filling, false).await;
    assert!(matches!(exit, Exit::Trapped(_)), "{exit:?}");
    let mut script = Script::default();
    let exit = filling.run(&plan_with_fuel(100_000_000), &mut script).await;
    assert_eq!(exit, Exit::Succeeded);
}

/// A strategy that runs 6 million instructions and asks for the time, again and again.
async fn computing_between_calls() -> Strategy {
    let run = "(loop $again
            (local.set 0 (i32.const 1200000))
            (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (drop (call $now))
            (br $again))";
    let handmade = HandmadeStrategy {
        imports: r#"(import "hotswap:strategy/control@0.1.0" "now" (func $now (result i64)))"#,
        run,
        ..HandmadeStrategy::default()
    };
    host().load(&handmade.component()).await.unwrap()
}

/// Runs with 100 million units of fuel in total. `replayed` calls are in the journal.
async fn run_with_total(strategy: &Strategy, replayed: usize) -> (Exit, usize) {
    let limits = StrategyLimits {
        total_fuel: 100_000_000,
        ..StrategyLimits::default()
    };
    let plan = Plan {
        limits,
        ..plan("{}")
    };
    let mut script = Script {
        replayed_calls: replayed,
        ..Script::default()
    };
    let exit = strategy.run(&plan, &mut script).await;
    (exit, script.calls.len())
}

#[tokio::test]
async fn a_whole_run_has_a_limit_that_is_reached_at_the_same_call_each_time() {
    let strategy = computing_between_calls().await;
    let (exit, calls) = run_with_total(&strategy, 0).await;
    let Exit::Trapped(cause) = &exit else {
        panic!("{exit:?}");
    };
    assert_eq!(cause.kind, CauseKind::Limit);
    assert_eq!(
        cause.message,
        "the strategy ran 100 million instructions, the limit for one run"
    );
    assert_eq!(calls, 16);
    for replayed in [1, 8, calls] {
        let again = run_with_total(&strategy, replayed).await;
        assert_eq!(again, (exit.clone(), calls), "{replayed} calls replayed");
    }
}

#[tokio::test]
async fn a_whole_run_is_not_ended_before_a_call_that_the_journal_holds() {
    let strategy = computing_between_calls().await;
    // A release that counted differently had let the run come so far.
    let (exit, calls) = run_with_total(&strategy, 40).await;
    assert!(matches!(exit, Exit::Trapped(_)), "{exit:?}");
    // The next slice of fuel ends it, not the next instruction.
    assert_eq!(calls, 41);
}
