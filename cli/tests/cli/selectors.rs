//! Labels, selectors and plans on the command line.

use serde_json::Value;

use crate::server::{Fleet, Server};
use crate::support::{run, wait_for};

/// Starts a third node, with the label `tier=edge`.
fn start_edge_node(fleet: &Fleet) -> Server {
    let node = [
        "node",
        "run",
        "-e",
        "qa",
        "--id",
        "n3",
        "--engine",
        &fleet.server,
    ];
    let ports = ["--data", "127.0.0.1:0", "--control", "127.0.0.1:0"];
    let rest = ["--data-dir", "n3", "--token-file", "engine/node-token"];
    let labels = ["--label", "tier=edge", "--zone", "eu"];
    let node = [&node[..], &ports, &rest, &labels].concat();
    let node = Server::start(fleet.folder.path(), &node, "node started", "data_addr");
    wait_for("the node has joined", || {
        let nodes = fleet.json(&["node", "list"]);
        (nodes.as_array()?.len() == 3).then_some(())
    });
    node
}

#[test]
fn a_plan_is_shown_and_then_deployed_to_the_selected_nodes() {
    let fleet = Fleet::start();
    let _edge = start_edge_node(&fleet);
    fleet.upload("hello");
    let nodes = fleet.run(&["node", "list"]);
    assert!(
        nodes.out.contains("LABELS") && nodes.out.contains("tier=edge"),
        "{nodes:?}"
    );

    let deploy = [
        "deploy",
        "hello",
        "-e",
        "qa",
        "-s",
        "direct",
        "-l",
        "tier=edge,zone",
    ];
    let plan = fleet.run(&[&deploy[..], &["--plan"]].concat());
    assert_eq!(plan.code, Some(0), "{plan:?}");
    for text in [
        "hello 1.0.0 → qa (tier=edge,zone) by direct",
        "n3    eu    none  1.0.0",
        "n1: the selector does not match its labels",
        "promote n3",
    ] {
        assert!(plan.out.contains(text), "no {text}: {}", plan.out);
    }
    let json = fleet.json(&[&deploy[..], &["--plan"]].concat());
    assert_eq!(json["nodes"][0]["id"], "n3");
    assert_eq!(json["leftOut"].as_array().map(Vec::len), Some(2));
    let none = fleet.json(&["deployment", "list"]);
    assert_eq!(none, Value::Array(Vec::new()), "a plan deploys nothing");

    let done = fleet.run(&[&deploy[..], &["--wait"]].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.err.contains("qa (tier=edge,zone)"), "{done:?}");
    let list = fleet.run(&["deployment", "list"]);
    assert!(list.out.contains("qa (tier=edge,zone)"), "{list:?}");
    let environment = fleet.run(&["environment", "get", "qa"]);
    assert!(
        environment.out.contains("tier=edge,zone"),
        "{environment:?}"
    );
    let watched = fleet.json(&["deployment", "list"]);
    let id = watched[0]["executionId"].as_str().unwrap().to_owned();
    let shown = fleet.run(&["get", &id]);
    assert!(shown.out.contains("qa (tier=edge,zone)"), "{shown:?}");
}

#[test]
fn a_plan_that_cannot_be_carried_out_says_why() {
    let fleet = Fleet::start();
    fleet.upload("hello");
    let slow = [
        "-s",
        "rolling",
        "--set",
        "batch=1",
        "--set",
        "settle=3h",
        "--plan",
    ];
    let plan = fleet.run(&[&["deploy", "hello", "-e", "qa"][..], &slow].concat());
    assert_eq!(plan.code, Some(1), "{plan:?}");
    assert!(
        plan.out
            .contains("! with 2 nodes, strategy 'rolling' takes at least"),
        "{plan:?}"
    );
    let nowhere = ["deploy", "hello", "-e", "qa", "-l", "zone=asia", "--plan"];
    let refused = fleet.run(&nowhere);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("matches zone=asia"), "{refused:?}");
}

#[test]
fn invalid_selectors_and_labels_are_usage_errors() {
    let folder = tempfile::tempdir().unwrap();
    for (args, words) in [
        (
            &["deploy", "hello", "-e", "qa", "-l", "zone=eu,"][..],
            "at character 9",
        ),
        (
            &["deploy", "hello", "-e", "qa", "--plan", "--wait"],
            "cannot be used with",
        ),
        (&["node", "run", "--label", "rack=the 7th"], "label value"),
        (&["node", "run"], "--environment"),
    ] {
        let outcome = run(folder.path(), args);
        assert_eq!(outcome.code, Some(2), "{args:?}: {outcome:?}");
        assert!(outcome.err.contains(words), "{args:?}: {outcome:?}");
    }
}
