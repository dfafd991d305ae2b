//! Concurrent runs, dropped runs, and answers of the wrong type.

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use hotswap_core::{Answer, Call, CauseKind, NodeError, NodeFailure};
use hotswap_plugins::{Exit, Host, Limits, ReadyAnswers};

use crate::component::HandmadeStrategy;
use crate::script::{Gate, Script, host, plan, run_attack};

const STAGE_ONCE: &str = r#"{"steps":1,"kind":"stage","sleep":0}"#;

#[tokio::test]
async fn strategy_receives_its_plan_and_node_failures() {
    let strategy = host().load(hotswap_guests::DIRECT).await.unwrap();
    let config = strategy.configure(None).unwrap().to_string();
    let mut script = Script::default();
    let exit = strategy.run(&plan(&config), &mut script).await;
    assert_eq!(exit, Exit::Succeeded);
    let nodes: Vec<_> = plan("{}").nodes.into_iter().map(|node| node.id).collect();
    let operations: Vec<_> = script
        .calls
        .into_iter()
        .filter(|call| !matches!(call, Call::Progress { .. }))
        .collect();
    let promote = Call::Promote {
        nodes: nodes.clone(),
    };
    assert_eq!(operations, [Call::Stage { nodes }, promote]);

    let mut script = Script {
        failures: vec![NodeFailure {
            node: "node-2".parse().unwrap(),
            error: NodeError::Refused("no memory".into()),
        }],
        ..Script::default()
    };
    let exit = strategy.run(&plan(&config), &mut script).await;
    // The engine counts failed nodes; the strategy goes on with the others.
    assert_eq!(exit, Exit::Succeeded);
    let promoted = ["node-1", "node-3"].map(|id| id.parse().unwrap());
    let promote = Call::Promote {
        nodes: promoted.to_vec(),
    };
    assert_eq!(script.calls.last(), Some(&promote));
}

#[tokio::test]
async fn answer_of_the_wrong_type_is_reported_as_an_engine_bug() {
    let strategy = host().load(hotswap_guests::STEPS).await.unwrap();
    let mut script = Script {
        always: Some(Answer::Time(5)),
        ..Script::default()
    };
    let Exit::Trapped(cause) = strategy.run(&plan(STAGE_ONCE), &mut script).await else {
        panic!("the run was not ended");
    };
    assert_eq!(
        cause.message,
        "engine bug, please report it: fleet.stage was answered with a time, which is the wrong \
         type"
    );
}

#[tokio::test]
async fn oversized_log_line_and_nan_limit_end_the_run() {
    let host = host();
    let long = HandmadeStrategy {
        imports: r#"(import "hotswap:strategy/control@0.1.0" "log"
            (func $log (param i32 i32 i32)))"#,
        run: "(call $log (i32.const 1) (i32.const 65536) (i32.const 65537))",
        pages: 3,
        ..HandmadeStrategy::default()
    };
    let soak = HandmadeStrategy {
        imports: r#"(import "hotswap:strategy/analysis@0.1.0" "soak"
            (func $soak (param i64 i32 i32 i32 i32 i32 i32 i32)))"#,
        // One check with an empty name, whose `max` (flag at offset 8, value at 16) is NaN.
        run: "(i32.store8 (i32.const 4104) (i32.const 1))
              (f64.store (i32.const 4112) (f64.const nan))
              (call $soak (i64.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                  (i32.const 4096) (i32.const 1) (i32.const 8192))",
        ..HandmadeStrategy::default()
    };
    for (handmade, kind, message) in [
        (
            long,
            CauseKind::Limit,
            "the strategy logs a line of 65537 bytes; at most 65536 are allowed",
        ),
        (
            soak,
            CauseKind::Violation,
            "the strategy passes analysis.soak a check of '' with a limit that is not a finite \
             number",
        ),
    ] {
        let strategy = host.load(&handmade.component()).await.unwrap();
        let mut script = Script::default();
        let Exit::Trapped(cause) = strategy.run(&plan("{}"), &mut script).await else {
            panic!("the run was not ended");
        };
        assert_eq!((cause.kind, cause.message.as_str()), (kind, message));
        assert_eq!(script.calls, []);
    }
}

#[tokio::test]
async fn run_dropped_while_it_waits_frees_its_instance() {
    let host = host();
    let strategy = host.load(hotswap_guests::STEPS).await.unwrap();
    let plan = plan(STAGE_ONCE);
    let gate = Gate::new();
    for _ in 0..100 {
        let mut handler = gate.handler();
        tokio::select! {
            biased;
            exit = strategy.run(&plan, &mut handler) => panic!("the run ended: {exit:?}"),
            () = gate.reached(1) => {}
        }
        assert_eq!(host.pooled_instances(), 0);
    }
}

#[tokio::test]
async fn run_dropped_while_it_computes_frees_its_instance() {
    let host = host();
    let strategy = host.load(hotswap_guests::HOSTILE).await.unwrap();
    for _ in 0..3 {
        let mut script = Script::default();
        tokio::select! {
            biased;
            exit = run_attack(&strategy, "endless-loop", &mut script) => panic!("the run ended: {exit:?}"),
            () = computes(&host) => {}
        }
        // It ends with its slice of fuel.
        while host.pooled_instances() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Waits until an instance exists.
async fn computes(host: &Host) {
    while host.pooled_instances() == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_runs_than_the_pool_holds_can_wait() {
    let host = Host::new(Limits {
        pooled_runs: 100,
        ..Limits::default()
    })
    .unwrap();
    let strategy = host.load(hotswap_guests::STEPS).await.unwrap();
    let gate = Gate::new();
    let runs: Vec<_> = (0..1000)
        .map(|_| {
            let (strategy, mut handler) = (strategy.clone(), gate.handler());
            tokio::spawn(async move { strategy.run(&plan(STAGE_ONCE), &mut handler).await })
        })
        .collect();
    gate.reached(1000).await;
    assert_eq!(host.pooled_instances(), 100);
    gate.open.add_permits(1000);
    for exit in join_all(runs).await {
        assert_eq!(exit.unwrap(), Exit::Succeeded);
    }
    assert_eq!(host.pooled_instances(), 0);
}

#[tokio::test]
async fn runs_beyond_the_limit_wait_for_their_turn() {
    let limits = Limits {
        concurrent_runs: 2,
        pooled_runs: 1,
        ..Limits::default()
    };
    let strategy = Host::new(limits).unwrap();
    let strategy = strategy.load(hotswap_guests::STEPS).await.unwrap();
    let gate = Gate::new();
    let runs: Vec<_> = (0..3)
        .map(|_| {
            let (strategy, mut handler) = (strategy.clone(), gate.handler());
            tokio::spawn(async move { strategy.run(&plan(STAGE_ONCE), &mut handler).await })
        })
        .collect();
    gate.reached(2).await;
    assert!(gate.arrived.try_acquire().is_err());
    gate.open.add_permits(1);
    gate.reached(1).await;
    gate.open.add_permits(2);
    for exit in join_all(runs).await {
        assert_eq!(exit.unwrap(), Exit::Succeeded);
    }
}

#[tokio::test]
async fn strategy_outlives_its_host() {
    let strategy = host().load(hotswap_guests::HOSTILE).await.unwrap();
    // Only the thread that the host started can end this run.
    let exit = run_attack(&strategy, "endless-loop", &mut Script::default()).await;
    assert!(matches!(exit, Exit::Trapped(_)));
}

/// Answers the first calls itself.
struct Journal {
    answers: Mutex<Vec<Answer>>,
    answered: Mutex<Vec<Call>>,
}

impl ReadyAnswers for Journal {
    fn answer(&self, call: &Call) -> Option<Answer> {
        let answer = self.answers.lock().unwrap().pop()?;
        self.answered.lock().unwrap().push(call.clone());
        Some(answer)
    }

    fn is_replaying(&self) -> bool {
        !self.answers.lock().unwrap().is_empty()
    }
}

#[tokio::test]
async fn calls_that_a_journal_answers_are_not_passed_on() {
    let strategy = host().load(hotswap_guests::STEPS).await.unwrap();
    let plan = plan(r#"{"steps":200,"kind":"stage","sleep":0}"#);
    let mut undisturbed = Script::default();
    let exit = strategy.run(&plan, &mut undisturbed).await;
    assert_eq!(exit, Exit::Succeeded);
    let all = undisturbed.calls;
    for answered in [0, 1, 150, all.len()] {
        let journal = Arc::new(Journal {
            answers: Mutex::new(vec![Answer::Nodewise(Vec::new()); answered]),
            answered: Mutex::default(),
        });
        let mut script = Script {
            replay: Some(Arc::clone(&journal) as Arc<dyn ReadyAnswers>),
            ..Script::default()
        };
        let exit = strategy.run(&plan, &mut script).await;
        assert_eq!(exit, Exit::Succeeded);
        assert_eq!(*journal.answered.lock().unwrap(), all[..answered]);
        assert_eq!(script.calls, all[answered..]);
    }
}
