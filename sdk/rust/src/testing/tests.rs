//! The scripted fleet behaves like the engine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Operation, ScriptedFleet, assert_schema, schema_faults};
use crate::{
    Check, Control, Error, Fleet, Health, Judgement, Level, NoConfig, NodeError, Plan, Probe,
    Registered, Result, Span, Strategy, describe,
};

/// Makes every kind of call once.
struct EveryCall;

impl Strategy for EveryCall {
    type Config = NoConfig;
    const NAME: &'static str = "every-call";
    const SUMMARY: &'static str = "Makes every kind of call once.";
    const VERSION: Option<&'static str> = Some("3.2.1");

    fn run(plan: &Plan<NoConfig>, fleet: &Fleet, control: &Control) -> Result {
        control.progress("all of it", 250);
        fleet.stage(&plan.nodes).all()?;
        fleet.probe(&plan.nodes, &Probe::default()).all()?;
        control.approval("go on?", Span::hours(1))?;
        fleet.shift(&plan.nodes, 50).all()?;
        let checks = [Check::error_rate().max(0.1)];
        fleet
            .soak(Span::mins(1), &plan.nodes, &plan.nodes, &checks)
            .passed()?;
        fleet.promote(&plan.nodes).all()?;
        control.sleep(Span::ZERO);
        control.sleep(Span::secs(5));
        control.info(format!("it is {}", control.now()));
        fleet.ensure_alive(&plan.nodes)
    }
}

crate::register!(EveryCall);

#[test]
fn calls_are_recorded_in_order_and_advance_the_clock() {
    let fleet = ScriptedFleet::new(2).decision(true, "ann");
    fleet.run::<EveryCall>(NoConfig {}).unwrap();
    assert_eq!(
        fleet.transcript(),
        [
            "stage node-1 node-2",
            "probe /: node-1 node-2",
            "approval within 1h: go on?",
            "shift to 50 %: node-1 node-2",
            "soak 1m: node-1 node-2 against node-1 node-2",
            "promote node-1 node-2",
            "sleep 5s",
        ]
    );
    assert_eq!(fleet.stages(), [("all of it".to_owned(), 100)]);
    assert_eq!(fleet.logs(), [(Level::Info, "it is 65000".to_owned())]);
    assert_eq!(fleet.elapsed(), Span::secs(65));
    assert_eq!(fleet.updated(), ["node-1", "node-2"]);
    assert_eq!(fleet.calls().last(), Some(&Call::Nodes));
}

#[test]
fn approval_without_a_decision_times_out_and_reverts_nodes() {
    let fleet = ScriptedFleet::new(2);
    let error = fleet.run::<EveryCall>(NoConfig {}).unwrap_err();
    assert_eq!(error.to_string(), "no approval within 1h");
    assert_eq!(fleet.elapsed(), Span::hours(1));
    assert_eq!(fleet.updated(), Vec::<String>::new());
}

#[test]
fn scripted_judgement_reaches_the_strategy() {
    let fleet = ScriptedFleet::new(1)
        .decision(true, "ann")
        .judgement(Judgement::Fail);
    let error = fleet.run::<EveryCall>(NoConfig {}).unwrap_err();
    assert_eq!(
        error.to_string(),
        "check error-rate failed: scripted judgement"
    );
}

#[test]
fn ensure_alive_reports_a_node_that_stopped_reporting() {
    let fleet = ScriptedFleet::new(2)
        .decision(true, "ann")
        .dies_after(Operation::Promote, "node-2");
    let error = fleet.run::<EveryCall>(NoConfig {}).unwrap_err();
    assert_eq!(error, Error::Gone(vec!["node-2".to_owned()]));
    assert_eq!(
        error.to_string(),
        "node-2 stopped reporting in after the switch to the new version"
    );
}

#[test]
fn promote_without_stage_is_refused() {
    let fleet = ScriptedFleet::new(1);
    let results = fleet.fleet().promote(&["node-1"]);
    let (node, error) = results.failed().next().unwrap();
    assert_eq!(
        (node, error),
        ("node-1", &NodeError::Refused("no version is staged".into()))
    );
}

#[test]
fn revert_activates_the_previous_version() {
    let fleet = ScriptedFleet::new(2);
    fleet.fleet().deploy(&["node-1", "node-2"]).unwrap();
    fleet.fleet().revert(&["node-1"]).all().unwrap();
    assert_eq!(fleet.updated(), ["node-2"]);
    assert_eq!(fleet.nodes()[0].active.as_ref().unwrap().version, "1.0.0");
}

#[test]
fn empty_list_makes_no_call() {
    let fleet = ScriptedFleet::new(2);
    fleet.fleet().deploy::<&str>(&[]).unwrap();
    assert_eq!(fleet.calls(), []);
}

#[test]
fn relative_check_without_a_baseline_is_inconclusive() {
    let fleet = ScriptedFleet::new(1);
    let checks = [Check::error_rate().max_increase(0.5)];
    let verdict = fleet.fleet().soak(Span::secs(1), &["node-1"], &[], &checks);
    assert!(verdict.is_inconclusive());
}

#[test]
#[should_panic(expected = "\"elsewhere\" is not in the plan")]
fn node_outside_the_plan_panics() {
    let _ = ScriptedFleet::new(1).fleet().stage(&["elsewhere"]).all();
}

#[test]
#[should_panic(expected = "no node \"node-01\"")]
fn misspelt_node_in_the_script_panics() {
    let _ = ScriptedFleet::new(3).refuse(Operation::Stage, "node-01", "never seen");
}

#[test]
fn ids_sort_by_number_and_nodes_can_be_changed() {
    let fleet = ScriptedFleet::new(10).with_node("node-02", |node| {
        node.health = Health::Warning;
        node.labels.push(("tier".into(), "edge".into()));
    });
    let nodes = fleet.nodes();
    assert!(nodes.is_sorted_by(|a, b| a.id < b.id));
    assert_eq!(nodes[1].label("tier"), Some("edge"));
    assert_eq!(nodes[1].label("other"), None);
}

#[test]
fn strategy_describes_itself() {
    let descriptor = describe::<EveryCall>();
    assert_eq!(descriptor.name, "every-call");
    assert_eq!(descriptor.version, "3.2.1");
    assert_eq!(describe::<Careless>().version, env!("CARGO_PKG_VERSION"));
    assert_schema::<EveryCall>(
        r#"{
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "every-call",
            "description": "There are no settings.",
            "type": "object",
            "additionalProperties": false
        }"#,
    );
}

/// A configuration that breaks every rule.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
struct BadConfig {
    #[allow(missing_docs)]
    batch: u32,
}

struct Careless;

impl Strategy for Careless {
    type Config = BadConfig;
    const NAME: &'static str = "careless";
    const SUMMARY: &'static str = "Breaks every rule.";

    fn run(_: &Plan<BadConfig>, _: &Fleet, _: &Control) -> Result {
        Err("never")?
    }
}

crate::register!(Careless);

#[test]
fn schema_faults_are_found() {
    assert_eq!(
        schema_faults::<Careless>(),
        [
            "the configuration accepts unknown properties: add #[serde(deny_unknown_fields)]",
            "batch of the configuration has no default: add #[serde(default)]",
            "batch of the configuration has no description: add a doc comment",
        ]
    );
    assert_eq!(
        ScriptedFleet::new(1).run::<Careless>(BadConfig::default()),
        Err("never".into())
    );
    assert_eq!(Careless::CRATE_VERSION, describe::<Careless>().version);
}
