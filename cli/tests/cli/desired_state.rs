//! What should run on each node, as the command line shows it.

use serde_json::Value;

use crate::support::{Dev, wait_for};

#[test]
fn a_module_is_retired_and_comes_back_with_a_deployment() {
    let dev = Dev::start(&["--rate", "0"]);
    let environment = dev.run(&["environment", "get", "production"]);
    assert!(environment.out.contains("RUNS"), "{environment:?}");
    let retired = dev.run(&["module", "retire", "hello", "-e", "production", "--json"]);
    assert_eq!(retired.code, Some(0), "{retired:?}");
    let report: Value = serde_json::from_str(&retired.out).unwrap();
    assert_eq!(
        (&report["id"], &report["state"]),
        (&"hello".into(), &"retired".into())
    );
    assert_eq!(report["next"], "hotswap environment get production");

    let runs_nothing = || {
        let nodes = dev.json(&["node", "list", "-e", "production"]);
        let mut nodes = nodes.as_array().unwrap().iter();
        let follow = nodes.all(|node| {
            let module = &node["modules"][0];
            module["state"] == "inStep" && module["actual"].is_null()
        });
        follow.then_some(())
    };
    wait_for("the nodes to follow", runs_nothing);
    // A report that was under way may still tell of the version before.
    wait_for("the table to say so", || {
        let nodes = dev.run(&["node", "list", "-e", "production"]);
        nodes.out.contains("hello none").then_some(())
    });
    let again = dev.run(&["module", "retire", "hello", "-e", "production"]);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(
        again.err.contains("should not run in production anyway"),
        "{again:?}"
    );

    let events = wait_for("the removal to be told", || {
        let events = dev.run(&["environment", "events", "production"]);
        let is_removed = |number| {
            let removed = format!("prod-{number} ran hello 1.0.0, which was removed");
            events.out.contains(&removed)
        };
        (1..=4).all(is_removed).then_some(events)
    });
    assert!(events.out.contains("hello was retired by"), "{events:?}");
    let newest = dev.json(&["environment", "events", "production", "--limit", "1"]);
    assert_eq!(newest["events"][0]["type"], "repaired");

    let direct = [
        "deploy",
        "hello@1.0.0",
        "-e",
        "production",
        "--strategy",
        "direct",
        "--wait",
    ];
    assert_eq!(dev.run(&direct).code, Some(0));
    // The nodes report what they run just after the deployment's end.
    wait_for("the nodes to report the module", || {
        let nodes = dev.run(&["node", "list", "-e", "production"]);
        nodes.out.contains(" hello 1.0.0").then_some(())
    });
}
