//! The verbs that steer rollouts, with real processes.

use serde_json::Value;

use crate::support::{Dev, wait_for};

const PRODUCTION: &str = "production";

/// Starts a rollout of `hello` that waits for an hour after each node, and waits until it does.
fn deploy_slowly(dev: &Dev, version: &str) -> String {
    let module = format!("hello@{version}");
    let deploy = [
        "deploy",
        &module,
        "-e",
        PRODUCTION,
        "-s",
        "rolling",
        "--set",
        "batch=1",
        "--set",
        "settle=1h",
    ];
    let started = dev.run(&deploy);
    assert_eq!(started.code, Some(0), "{started:?}");
    let id = started.out.trim().to_owned();
    wait_for("the rollout to wait", || {
        let state = dev.json(&["get", &id]);
        (!state["waitingUntil"].is_null()).then_some(())
    });
    id
}

fn versions(dev: &Dev) -> Vec<String> {
    let history = dev.json(&["module", "history", "hello", "-e", PRODUCTION]);
    let entries = history.as_array().unwrap().iter();
    entries
        .map(|entry| format!("{} {}", entry["kind"].as_str().unwrap(), entry["version"]))
        .collect()
}

#[test]
fn a_rollout_is_promoted_superseded_tried_again_undone_and_compared() {
    let dev = Dev::start(&["--rate", "0"]);

    let promoted = deploy_slowly(&dev, "2.0.0");
    let one = dev.run(&["promote", &promoted, "--reason", "seen enough"]);
    assert_eq!(one.code, Some(0), "{one:?}");
    assert!(one.out.contains("goes on"), "{one:?}");
    let full = dev.run(&["deployment", "promote", &promoted, "--full", "--json"]);
    assert_eq!(full.report()["id"], promoted);
    let watched = dev.run(&["watch", &promoted]);
    assert_eq!(watched.code, Some(0), "{watched:?}");
    for line in ["ended the wait: seen enough", "ended every wait"] {
        assert!(watched.out.contains(line), "{line}: {watched:?}");
    }
    let late = dev.run(&["promote", &promoted]);
    assert_eq!(late.code, Some(1), "{late:?}");
    assert!(late.err.contains("has ended"), "{late:?}");

    let old = deploy_slowly(&dev, "1.0.0");
    let direct = ["deploy", "hello@1.0.0", "-e", PRODUCTION, "-s", "direct"];
    let busy = dev.run(&direct);
    assert_eq!(busy.code, Some(1), "{busy:?}");
    assert!(busy.err.contains("--supersede"), "{busy:?}");
    let superseding = dev.run(&[&direct[..], &["--supersede", "--wait", "--json"]].concat());
    let report = superseding.report();
    assert_eq!(report["state"], "succeeded", "{superseding:?}");
    let new = report["id"].as_str().unwrap().to_owned();
    let shown = dev.run(&["get", &new]);
    assert!(
        shown.out.contains(&format!("supersedes deployment {old}")),
        "{shown:?}"
    );
    let aborted = dev.json(&["get", &old]);
    assert_eq!(aborted["status"], "rolledBack");

    let again = dev.run(&["retry", &old]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(
        again.err.contains("the same component as before"),
        "{again:?}"
    );
    let again = again.out.trim();
    assert_eq!(dev.json(&["get", again])["retryOf"], old);
    assert_eq!(dev.run(&["abort", again]).code, Some(0));
    assert_eq!(dev.run(&["watch", again]).code, Some(3));
    let no = dev.run(&["retry", &new]);
    assert_eq!(no.code, Some(1), "{no:?}");
    assert!(no.err.contains("has succeeded"), "{no:?}");

    let undo = ["module", "undo", "hello", "-e", PRODUCTION];
    let undone = dev.run(&[&undo[..], &["--set", "x=1"]].concat());
    assert_eq!(undone.code, Some(2), "{undone:?}");
    let undone = dev.run(&undo);
    assert_eq!(undone.code, Some(0), "{undone:?}");
    assert!(
        undone
            .err
            .contains("to 2.0.0 (the last success before 1.0.0)"),
        "{undone:?}"
    );
    // By the strategy of that success, whose waits are long.
    let id = undone.out.trim();
    wait_for("the undo to wait", || {
        dev.run(&["promote", id, "--full"])
            .code
            .filter(|code| *code == 0)
    });
    assert_eq!(dev.run(&["watch", id]).code, Some(0));
    let nothing = dev.run(&[&undo[..], &["--to", "9.9.9"]].concat());
    assert_eq!(nothing.code, Some(1), "{nothing:?}");
    assert!(nothing.err.contains(&promoted), "{nothing:?}");

    assert_eq!(
        versions(&dev),
        [
            "undo \"2.0.0\"",
            "deployment \"1.0.0\"",
            "deployment \"2.0.0\"",
            "deployment \"1.0.0\""
        ]
    );
    let table = dev.run(&["module", "history", "hello", "-e", PRODUCTION, "-n", "2"]);
    let lines: Vec<_> = table.out.lines().collect();
    assert_eq!(lines.len(), 3, "{table:?}");
    assert!(
        lines[1].starts_with('●') && lines[1].contains("tester@example.org"),
        "{table:?}"
    );

    let diff = dev.run(&["deployment", "diff", &new]);
    assert_eq!(diff.code, Some(0), "{diff:?}");
    assert!(diff.err.contains(&promoted), "{diff:?}");
    assert!(
        diff.out.contains("module.version") && diff.out.contains("strategy.name"),
        "{diff:?}"
    );
    let same: Value = dev.json(&["deployment", "diff", again, &old]);
    assert_eq!(same["differences"], serde_json::json!([]));
}
