//! Many runs at once, dropped ones, and answers that do not fit.

use futures_util::future::join_all;
use hotswap_core::{Answer, Call, CauseKind, NodeError, NodeFailure};
use hotswap_plugins::{Exit, Host, Limits};

use crate::component::Handmade;
use crate::script::{Gate, Script, attack, host, plan};

const STAGE_ONCE: &str = r#"{"steps":1,"kind":"stage","sleep":0}"#;

#[tokio::test]
async fn a_strategy_sees_its_plan_and_what_nodes_say() {
    let strategy = host().load(hotswap_guests::DIRECT).await.unwrap();
    let config = strategy.configure(None).unwrap().to_string();
    let mut script = Script::default();
    let exit = strategy.run(&plan(&config), &mut script).await;
    assert_eq!(exit, Exit::Succeeded);
    let nodes: Vec<_> = plan("{}").nodes.into_iter().map(|node| node.id).collect();
    let acts: Vec<_> = script
        .calls
        .into_iter()
        .filter(|call| !matches!(call, Call::Progress { .. }))
        .collect();
    let promote = Call::Promote {
        nodes: nodes.clone(),
    };
    assert_eq!(acts, [Call::Stage { nodes }, promote]);

    let mut script = Script {
        failures: vec![NodeFailure {
            node: "node-2".parse().unwrap(),
            error: NodeError::Refused("no memory".into()),
        }],
        ..Script::default()
    };
    let exit = strategy.run(&plan(&config), &mut script).await;
    assert_eq!(
        exit,
        Exit::Refused("node-2 could not stage the new version: refused: no memory".into())
    );
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_the_engines_fault() {
    let strategy = host().load(hotswap_guests::STEPS).await.unwrap();
    let mut script = Script {
        always: Some(Answer::Time(5)),
        ..Script::default()
    };
    let Exit::Trapped(cause) = strategy.run(&plan(STAGE_ONCE), &mut script).await else {
        panic!("it went on");
    };
    assert_eq!(
        cause.message,
        "a fault of the engine, please report it: fleet.stage was answered with a time, which \
         does not fit it"
    );
}

#[tokio::test]
async fn a_line_and_a_limit_that_are_none_end_the_run() {
    let host = host();
    let long = Handmade {
        imports: r#"(import "hotswap:strategy/control@0.1.0" "log"
            (func $log (param i32 i32 i32)))"#,
        run: "(call $log (i32.const 1) (i32.const 65536) (i32.const 65537))",
        pages: 3,
        ..Handmade::default()
    };
    let soak = Handmade {
        imports: r#"(import "hotswap:strategy/analysis@0.1.0" "soak"
            (func $soak (param i64 i32 i32 i32 i32 i32 i32 i32)))"#,
        // One check, of no name, whose `max` (at 8, its number at 16) is not a number.
        run: "(i32.store8 (i32.const 4104) (i32.const 1))
              (f64.store (i32.const 4112) (f64.const nan))
              (call $soak (i64.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                  (i32.const 4096) (i32.const 1) (i32.const 8192))",
        ..Handmade::default()
    };
    for (handmade, kind, message) in [
        (
            long,
            CauseKind::Limit,
            "the strategy logs a line of 65537 bytes: 65536 are allowed",
        ),
        (
            soak,
            CauseKind::Violation,
            "analysis.soak has a limit of '' that is not a finite number",
        ),
    ] {
        let strategy = host.load(&handmade.component()).await.unwrap();
        let mut script = Script::default();
        let Exit::Trapped(cause) = strategy.run(&plan("{}"), &mut script).await else {
            panic!("it went on");
        };
        assert_eq!((cause.kind, cause.message.as_str()), (kind, message));
        assert_eq!(script.calls, []);
    }
}

#[tokio::test]
async fn a_run_that_is_dropped_while_it_waits_leaves_nothing_behind() {
    let host = host();
    let strategy = host.load(hotswap_guests::STEPS).await.unwrap();
    let plan = plan(STAGE_ONCE);
    let gate = Gate::new();
    for _ in 0..100 {
        let mut calls = gate.calls();
        tokio::select! {
            biased;
            exit = strategy.run(&plan, &mut calls) => panic!("it ended: {exit:?}"),
            () = gate.reached(1) => {}
        }
        assert_eq!(host.pooled(), 0);
    }
}

#[tokio::test]
async fn a_run_that_is_dropped_while_it_computes_leaves_nothing_behind() {
    let host = host();
    let strategy = host.load(hotswap_guests::HOSTILE).await.unwrap();
    for _ in 0..3 {
        let mut script = Script::default();
        tokio::select! {
            biased;
            exit = attack(&strategy, "endless-loop", &mut script) => panic!("it ended: {exit:?}"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(host.pooled(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_wait_at_once_though_the_pool_is_small() {
    let host = Host::new(Limits {
        pooled: 100,
        ..Limits::default()
    })
    .unwrap();
    let strategy = host.load(hotswap_guests::STEPS).await.unwrap();
    let gate = Gate::new();
    let runs: Vec<_> = (0..1000)
        .map(|_| {
            let (strategy, mut calls) = (strategy.clone(), gate.calls());
            tokio::spawn(async move { strategy.run(&plan(STAGE_ONCE), &mut calls).await })
        })
        .collect();
    gate.reached(1000).await;
    assert_eq!(host.pooled(), 100);
    gate.open.add_permits(1000);
    for exit in join_all(runs).await {
        assert_eq!(exit.unwrap(), Exit::Succeeded);
    }
    assert_eq!(host.pooled(), 0);
}

#[tokio::test]
async fn runs_for_which_there_is_no_room_wait_for_their_turn() {
    let limits = Limits {
        runs: 2,
        pooled: 1,
        ..Limits::default()
    };
    let strategy = Host::new(limits).unwrap();
    let strategy = strategy.load(hotswap_guests::STEPS).await.unwrap();
    let gate = Gate::new();
    let runs: Vec<_> = (0..3)
        .map(|_| {
            let (strategy, mut calls) = (strategy.clone(), gate.calls());
            tokio::spawn(async move { strategy.run(&plan(STAGE_ONCE), &mut calls).await })
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
async fn a_strategy_outlives_its_host() {
    let strategy = host().load(hotswap_guests::HOSTILE).await.unwrap();
    // Without the thread that the host started it would never be ended.
    let exit = attack(&strategy, "endless-loop", &mut Script::default()).await;
    assert!(matches!(exit, Exit::Trapped(_)));
}
