//! `hotswap dev` and client commands, as in the README: real processes, real traffic.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::Stdio;

use crate::support::{Dev, Outcome, hotswap, run, signal, wait_for};
use hotswap_tests::tools;
use rustix::process::Signal;
use serde_json::Value;

/// A check that does not depend on how busy the machine is.
const CHECKS: &str = r#"checks=[{"metric":"error-rate","maxIncrease":0.5}]"#;

/// The deployment id that a command prints.
fn id(outcome: &Outcome) -> String {
    outcome.out.lines().next().expect("an id").trim().to_owned()
}

fn deploy<'a>(target: &'a str, environment: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["deploy", target, "-e", environment], rest].concat()
}

#[test]
fn a_good_version_is_rolled_out_and_a_bad_one_rolled_back() {
    let mut dev = Dev::start(&["--rate", "240"]);
    assert_eq!(dev.ready["nodes"].as_array().map(Vec::len), Some(6));
    for environment in ["development", "production"] {
        for response in dev.responses(environment) {
            assert!(response.contains("hello from v1"), "{response}");
        }
    }

    let canary = [
        "--strategy",
        "canary",
        "--set",
        "soak=2s",
        "--set",
        CHECKS,
        "--watch",
    ];
    let good = dev.run(&deploy("hello@2.0.0", "production", &canary));
    assert_eq!(good.code, Some(0), "{good:?}");
    assert!(good.out.contains("✔ succeeded after"), "{good:?}");
    for response in dev.responses("production") {
        assert!(response.contains("hello from v2"), "{response}");
    }

    let canary = [
        "--config", "soak=30s", "--config", CHECKS, "--watch", "--json",
    ];
    let bad = dev.run(&deploy("hello@3.0.0", "production", &canary));
    assert_eq!(bad.code, Some(3), "{bad:?}");
    let report: Value = serde_json::from_str(&bad.out).unwrap();
    assert_eq!(report["state"], "rolledBack");
    assert_eq!(report["exitReason"], "notSucceeded");
    let bad = report["id"].as_str().unwrap();
    let follow = ["deployment", "events", bad, "--follow", "--json"];
    let followed = dev.run(&follow);
    assert_eq!(followed.code, Some(3), "{followed:?}");
    let events: Vec<Value> = followed
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], number, "none lost, none twice");
    }
    let last = &events.last().unwrap()["body"];
    assert_eq!(
        (&last["type"], &last["data"]["outcome"]),
        (&"ended".into(), &"rolledBack".into())
    );
    let reverting = events
        .iter()
        .find(|event| event["body"]["type"] == "reverting")
        .unwrap();
    let message = reverting["body"]["data"]["cause"]["message"]
        .as_str()
        .unwrap();
    assert!(message.contains("error-rate"), "{message}");
    for response in dev.responses("production") {
        assert!(response.contains("hello from v2"), "{response}");
    }

    // Watching a deployment that has ended prints all of it, with the same exit code.
    let events = dev.run(&["deployment", "events", bad]);
    assert!(events.out.contains(message), "{events:?}");
    let last = dev.run(&["deployment", "events", bad, "--after", "1", "--json"]);
    let first: Value = serde_json::from_str(last.out.lines().next().unwrap()).unwrap();
    assert_eq!(first["seq"], 2);
    let again = dev.run(&["deployment", "watch", bad]);
    assert_eq!(again.code, Some(3), "{again:?}");
    assert!(again.out.contains(message), "{again:?}");
    let shown = dev.run(&["deployment", "get", bad]);
    assert!(
        shown.out.contains("✘ rolled back") && shown.out.contains("reverted"),
        "{shown:?}"
    );
    let listed = dev.json(&["list", "-m", "hello", "-e", "production"]);
    let statuses: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["status"])
        .collect();
    assert_eq!(statuses, ["rolledBack", "succeeded", "succeeded"]);
    let second = dev.run(&["list", "-n", "1"]);
    assert!(
        second.out.contains(bad) && second.err.contains("--limit"),
        "{second:?}"
    );

    signal(&dev.child, Signal::INT);
    assert!(dev.wait().success());
    assert_eq!(dev.processes(), Vec::<std::path::PathBuf>::new());
    let gone = dev.run(&["--server", dev.ready["server"].as_str().unwrap(), "nodes"]);
    assert_eq!(gone.code, Some(8));
    assert!(
        gone.err.contains("no engine answers at") && gone.err.contains("hotswap dev"),
        "{gone:?}"
    );
}

#[test]
fn deployments_are_decided_waited_for_paused_and_aborted() {
    let dev = Dev::start(&["--rate", "0"]);

    // A deployment waits for a decision, and is approved.
    let undecided = dev.run(&deploy(
        "hello@2.0.0",
        "development",
        &["--require-approval", "--watch"],
    ));
    assert_eq!(undecided.code, Some(5), "{undecided:?}");
    assert!(undecided.err.contains("hotswap approve"), "{undecided:?}");
    let open = dev.json(&["list", "--status", "awaitingApproval"]);
    let waiting = open[0]["executionId"].as_str().unwrap();
    let busy = dev.run(&deploy("hello@2.0.0", "development", &[]));
    assert_eq!(busy.code, Some(1), "{busy:?}");
    assert!(
        busy.err.contains(&format!("next: hotswap watch {waiting}")),
        "{busy:?}"
    );
    assert_eq!(
        dev.run(&["approve", waiting, "--comment", "fine"]).code,
        Some(0)
    );
    let watched = dev.run(&["watch", waiting]);
    assert_eq!(watched.code, Some(0), "{watched:?}");
    assert!(
        watched
            .out
            .contains("✔ approved by tester@example.org: fine"),
        "{watched:?}"
    );

    // The time-out passes and the deployment continues. Then it is paused, resumed, aborted.
    let slow = [
        "--strategy",
        "canary",
        "--config",
        "soak=1h",
        "--wait",
        "--timeout",
        "3s",
    ];
    let slow = dev.run(&deploy("hello@2.0.0", "production", &slow));
    assert_eq!(slow.code, Some(4), "{slow:?}");
    assert!(
        slow.err.contains("not updated: prod-2 prod-3 prod-4"),
        "{slow:?}"
    );
    let open = dev.json(&["list", "--status", "running"]);
    let running = open[0]["executionId"].as_str().unwrap();

    let mut watching = hotswap(dev.folder.path(), &["watch", running])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    assert!(
        lines
            .by_ref()
            .any(|line| line.unwrap().contains("watching prod-1 against"))
    );
    signal(&watching, Signal::INT);
    let interrupted: Outcome = watching.wait_with_output().unwrap().into();
    assert_eq!(interrupted.code, Some(130), "{interrupted:?}");
    assert!(
        interrupted.err.contains("the deployment continues"),
        "{interrupted:?}"
    );

    assert_eq!(dev.json(&["pause", running])["status"], "paused");
    assert_eq!(dev.json(&["resume", running])["status"], "running");
    let twice = dev.run(&["resume", running]);
    assert_eq!(twice.code, Some(1), "{twice:?}");
    assert!(
        twice.err.contains("the deployment is not paused"),
        "{twice:?}"
    );
    assert_eq!(
        dev.run(&["abort", running, "--reason", "enough"]).code,
        Some(0)
    );
    let aborted = dev.run(&["watch", running]);
    assert_eq!(aborted.code, Some(3), "{aborted:?}");
    assert!(aborted.out.contains("enough"), "{aborted:?}");

    // Back to the previous version.
    let back = dev.run(&["rollback", waiting, "--watch"]);
    assert_eq!(back.code, Some(0), "{back:?}");
    for response in dev.responses("development") {
        assert!(response.contains("hello from v1"), "{response}");
    }

    // A strategy of the user's own, and rejected requests.
    let halves = hotswap_guests::example_strategies()
        .iter()
        .find(|guest| guest.name == "halves")
        .unwrap();
    let file = dev.folder.path().join("halves.wasm");
    std::fs::write(&file, halves.component).unwrap();
    let file = file.display().to_string();
    assert_eq!(dev.run(&["strategy", "upload", &file]).code, Some(0));
    let listed = dev.run(&["strategy", "list"]);
    assert!(
        listed.out.contains("halves") && listed.out.contains("built in"),
        "{listed:?}"
    );
    let shown = dev.run(&["strategy", "get", "canary"]);
    assert!(
        shown.out.contains("soak") && shown.out.contains("default: \"15m\""),
        "{shown:?}"
    );
    // Not the newest version, which fails a tenth of its requests: requests follow below.
    let halves = dev.run(&deploy(
        "hello@2.0.0",
        "development",
        &["-s", "halves", "--config", "watch=0s", "--wait"],
    ));
    assert_eq!(halves.code, Some(0), "{halves:?}");
    assert_eq!(dev.run(&["strategy", "delete", "halves"]).code, Some(0));
    let refused = dev.run(&["strategy", "push", "/proc/self/cmdline"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let wrong = dev.run(&deploy("hello", "production", &["--config", "soka=1s"]));
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.err.contains("soka"), "{wrong:?}");
    let pushed = dev.run(&["module", "list", "hello"]);
    assert!(
        ["1.0.0", "2.0.0", "3.0.0"]
            .iter()
            .all(|version| pushed.out.contains(version)),
        "{pushed:?}"
    );

    // A killed node is started again, and runs the same version.
    let node = |nodes: Value| {
        nodes
            .as_array()
            .unwrap()
            .iter()
            .find(|node| node["id"] == "dev-2")
            .cloned()
            .unwrap()
    };
    let before = node(dev.json(&["nodes"]));
    dev.kill_node("dev-2");
    wait_for("the node is back", || {
        let now = node(dev.json(&["nodes"]));
        (now["health"] == "passing" && now["dataUrl"] != before["dataUrl"]).then_some(())
    });
    assert!(
        dev.responses("development")
            .iter()
            .all(|response| response.contains("hello"))
    );

    // A signed token grants its role, and the journal records its subject.
    let viewer = dev.run(&["token", "--subject", "ada"]);
    assert_eq!(viewer.code, Some(0), "{viewer:?}");
    let viewer = ["--token", viewer.out.trim()];
    let read = dev.run(&[&viewer[..], &["list"]].concat());
    assert_eq!(read.code, Some(0), "{read:?}");
    let refused = dev.run(&[&viewer[..], &deploy("hello", "development", &[])].concat());
    assert_eq!(refused.code, Some(7), "{refused:?}");
    assert!(refused.err.contains("the role operator"), "{refused:?}");
    assert!(!refused.err.contains(viewer[1]), "{refused:?}");
    let operator = dev.run(&["token", "--role", "operator", "--subject", "ada"]);
    let operator = ["--token", operator.out.trim()];
    let done = deploy("hello@1.0.0", "development", &["--wait"]);
    let done = dev.run(&[&operator[..], &done].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    let newest = dev.json(&["list", "-n", "1"]);
    let newest = newest[0]["executionId"].as_str().unwrap();
    assert_eq!(dev.json(&["get", newest])["requestedBy"], "ada");

    let stranger = dev.run(&["--token", "not-the-token-of-this-engine", "list"]);
    assert_eq!(stranger.code, Some(7), "{stranger:?}");
    assert!(
        stranger.err.contains("HOTSWAP_TOKEN") && !stranger.err.contains("not-the-token"),
        "{stranger:?}"
    );
}

#[test]
fn after_a_kill_the_nodes_end_and_a_restart_continues() {
    let mut dev = Dev::start(&["--rate", "0"]);
    let out = dev.run(&deploy("hello@2.0.0", "development", &["--wait"]));
    assert_eq!(out.code, Some(0), "{out:?}");
    // The engine is killed in the middle of a canary.
    let canary = [
        "--strategy",
        "canary",
        "--config",
        "soak=4s",
        "--config",
        CHECKS,
    ];
    let canary = id(&dev.run(&deploy("hello@2.0.0", "production", &canary)));
    wait_for("the first node is updated", || {
        let state = dev.json(&["get", &canary]);
        (state["nodes"][0]["phase"] == "active").then_some(())
    });
    let mut watching = hotswap(
        dev.folder.path(),
        &["deployment", "events", &canary, "--follow", "--json"],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let mut seen = BufReader::new(watching.stdout.take().unwrap());
    let mut events = String::new();
    seen.read_line(&mut events).unwrap();
    signal(&dev.child, Signal::KILL);
    dev.wait();
    wait_for("the nodes have ended", || {
        dev.processes().is_empty().then_some(())
    });

    let folder = std::mem::replace(&mut dev.folder, tempfile::tempdir().unwrap());
    let port = dev.ready["server"]
        .as_str()
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap()
        .to_owned();
    let dev = Dev::start_in(folder, &port, &["--rate", "0"]);
    // The watcher has missed nothing.
    seen.read_to_string(&mut events).unwrap();
    let watched: Outcome = watching.wait_with_output().unwrap().into();
    assert_eq!(watched.code, Some(0), "{watched:?}");
    assert!(watched.err.contains("reconnecting: "), "{watched:?}");
    for (number, line) in events.lines().enumerate() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["seq"], number, "none lost, none twice");
    }
    for response in dev.responses("development") {
        assert!(response.contains("hello from v2"), "{response}");
    }
    let ended = dev.run(&["watch", &canary]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for response in dev.responses("production") {
        assert!(response.contains("hello from v2"), "{response}");
    }
    let second = run(dev.folder.path(), &["dev", "--port", "0"]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.err.contains("--data-dir"), "{second:?}");
}

/// The nodes of `dev` are found in this registry, and roll-outs reach them.
fn finds_its_nodes(registry: &str, program: &Path) {
    let dev = Dev::start_with(program, &["--rate", "20", "--discovery", registry]);
    let nodes = dev.json(&["nodes"]);
    let nodes = nodes.as_array().unwrap();
    assert_eq!(nodes.len(), 6);
    for node in nodes {
        assert_eq!(node["source"], registry, "{node}");
    }
    let direct = ["--strategy", "direct", "--watch"];
    let deployed = dev.run(&deploy("hello@2.0.0", "development", &direct));
    assert_eq!(deployed.code, Some(0), "{deployed:?}");
    for response in dev.responses("development") {
        assert!(response.contains("hello from v2"), "{response}");
    }
}

#[test]
fn dev_finds_its_nodes_in_an_etcd_that_it_starts() {
    let program = tools::etcd().expect("etcd is installed");
    finds_its_nodes("etcd", Path::new(program.as_std().get_program()));
}

#[test]
fn dev_finds_its_nodes_in_a_consul_that_it_starts() {
    let program = tools::consul().expect("Consul was built");
    finds_its_nodes("consul", Path::new(program.as_std().get_program()));
}

#[test]
fn dev_says_how_to_get_a_registry_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, advice) in [
        ("consul", "hashicorp"),
        ("etcd", "apt-get install etcd-server"),
    ] {
        let args = ["dev", "--port", "0", "--discovery", kind];
        let output = hotswap(folder.path(), &args).env("PATH", "").output();
        let outcome = Outcome::from(output.unwrap());
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert!(outcome.err.contains(advice), "{outcome:?}");
    }
}
