//! Nodes that people cordon, drain and forget, and the events of an environment as they happen.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::server::Fleet;
use crate::support::{signal, wait_for};

#[test]
fn a_node_is_cordoned_drained_uncordoned_and_forgotten() {
    let fleet = Fleet::start();
    let cordoned = fleet.run(&["node", "cordon", "n1", "--reason", "its disk is replaced"]);
    assert_eq!(cordoned.code, Some(0), "{cordoned:?}");
    assert!(
        cordoned.err.contains("hotswap node uncordon n1"),
        "{cordoned:?}"
    );
    let list = fleet.run(&["node", "list"]);
    assert!(list.out.contains("! passing, cordoned"), "{list:?}");
    let environment = fleet.run(&["environment", "get", "qa"]);
    let node = fleet.run(&["node", "get", "n1"]);
    for shown in [&list, &environment, &node] {
        // It reports in to the engine itself. A row of a table, or a field.
        let has_source = shown.out.lines().any(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let is_of_node = words.contains(&"n1") || words.first() == Some(&"source");
            is_of_node && words.contains(&"built-in")
        });
        assert!(has_source, "{shown:?}");
    }
    let line = "n1 was cordoned by ";
    assert!(environment.out.contains(line), "{environment:?}");
    assert!(
        environment.out.contains(": its disk is replaced"),
        "{environment:?}"
    );

    let drained = fleet.run(&["node", "drain", "n1", "--wait", "--json"]);
    let report = drained.report();
    assert_eq!(report["exitReason"], "done", "{report}");
    assert_eq!(
        (&report["id"], &report["state"]),
        (&"n1".into(), &"drained".into())
    );
    assert_eq!(report["ready"], false);
    assert_eq!(report["inFlight"], 0);
    let node = fleet.run(&["node", "get", "n1"]);
    assert!(
        node.out
            .contains("no, 0 requests in flight: the node was drained by"),
        "{node:?}"
    );
    // Of two nodes, one may be unavailable.
    let refused = fleet.run(&["node", "drain", "n2"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused
            .err
            .contains("1 of 2 nodes of qa are unavailable (n1)"),
        "{refused:?}"
    );
    let forced = fleet.run(&["node", "drain", "n2", "--force"]);
    assert_eq!(forced.code, Some(0), "{forced:?}");

    for id in ["n1", "n2"] {
        let uncordoned = fleet.run(&["node", "uncordon", id, "--json"]);
        assert_eq!(uncordoned.report()["state"], "uncordoned");
    }
    let forgotten = fleet.run(&["node", "forget", "n2", "--reason", "scrapped", "--json"]);
    assert_eq!(forgotten.report()["state"], "deleted");
    let unknown = fleet.run(&["node", "cordon", "gone"]);
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(
        unknown.err.contains("'gone' is not registered"),
        "{unknown:?}"
    );
}

#[test]
fn events_of_an_environment_are_followed_over_a_restart_of_the_engine() {
    let mut fleet = Fleet::start();
    fleet.json(&["node", "cordon", "n1"]);
    fleet.json(&["node", "uncordon", "n1"]);
    let follow = [
        "environment",
        "events",
        "qa",
        "--follow",
        "--limit",
        "1",
        "--json",
    ];
    let mut follow = fleet.command(&follow);
    let mut follow = follow
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["type"], "uncordoned", "the last one before");
    fleet.json(&["node", "cordon", "n2"]);
    let cordoned = next();
    assert_eq!(
        (&cordoned["type"], &cordoned["nodeId"]),
        (&"cordoned".into(), &"n2".into())
    );
    fleet.kill_engine();
    fleet.restart_engine();
    fleet.json(&["node", "uncordon", "n2"]);
    assert_eq!(next()["type"], "uncordoned", "each event comes once");
    signal(&follow, Signal::INT);
    let status = wait_for("it is interrupted", || follow.try_wait().unwrap());
    assert_eq!(status.code(), Some(130));

    // For people, and without following, the newest comes first.
    let events = fleet.run(&["environment", "events", "qa", "--limit", "2"]);
    let mut lines = events.out.lines();
    assert!(
        lines
            .next()
            .is_some_and(|line| line.contains("n2 was uncordoned")),
        "{events:?}"
    );
}
