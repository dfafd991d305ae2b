//! The verbs that steer rollouts, with real processes.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::support::{Dev, run, wait_for};

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

/// What a deployment waits for, once that is something else than `before`.
fn next_wait(dev: &Dev, id: &str, before: &str) -> String {
    wait_for("another wait", || {
        let state = dev.json(&["get", id]);
        let wait = state["waitId"].as_str()?;
        (wait != before).then(|| wait.to_owned())
    })
}

#[test]
fn a_decision_about_a_wait_that_is_over_fails_and_counts_for_no_other() {
    let dev = Dev::start(&["--rate", "0"]);
    let deploy = [
        "deploy",
        "hello@2.0.0",
        "-e",
        PRODUCTION,
        "-s",
        "rolling",
        "--set",
        "batch=1",
        "--set",
        "settle=1h",
        "--require-approval",
        "--json",
    ];
    let started = dev.run(&deploy);
    let id = started.report()["id"].as_str().unwrap().to_owned();
    assert_eq!(next_wait(&dev, &id, ""), "start");
    let shown = dev.run(&["get", &id]);
    let command = format!("hotswap approve {id} --wait-id start");
    assert!(shown.out.contains(&command), "{shown:?}");
    let approved = dev.run(&["approve", &id, "--wait-id", "start"]);
    assert_eq!(approved.code, Some(0), "{approved:?}");
    assert!(approved.out.contains("what was decided: "), "{approved:?}");

    // Another person has decided: it waits for an hour by now.
    let first = next_wait(&dev, &id, "start");
    for verb in ["approve", "reject", "promote"] {
        let late = dev.run(&[verb, &id, "--wait-id", "start"]);
        assert_eq!(late.code, Some(1), "{late:?}");
        for text in [
            "nothing was decided",
            "is over",
            &format!("hotswap get {id}"),
        ] {
            assert!(late.err.contains(text), "{verb}: {late:?}");
        }
        let late = dev.run(&[verb, &id, "--wait-id", "start", "--json"]);
        assert_eq!(late.code, Some(1), "{late:?}");
        assert_eq!(late.report()["error"]["httpStatus"], 409, "{late:?}");
    }
    assert_eq!(dev.json(&["get", &id])["waitId"], first.as_str());
    let promoted = dev.run(&["promote", &id, "--wait-id", &first]);
    assert_eq!(promoted.code, Some(0), "{promoted:?}");
    let second = next_wait(&dev, &id, &first);
    let late = dev.run(&["promote", &id, "--wait-id", &first, "--full"]);
    assert_eq!(late.code, Some(1), "{late:?}");
    assert_eq!(dev.json(&["get", &id])["waitId"], second.as_str());
}

/// Passes connections on to an engine. Before the first POST arrives there, does something else.
fn interrupt_first_post(engine: &str, interrupt: impl FnOnce() + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let engine = engine.trim_start_matches("http://").to_owned();
    let interrupt = Mutex::new(Some(interrupt));
    let pass_on = Arc::new(move |mut client: TcpStream| {
        let mut engine = TcpStream::connect(&engine).unwrap();
        let mut answers = engine.try_clone().unwrap();
        let mut to_client = client.try_clone().unwrap();
        thread::spawn(move || {
            let _ = std::io::copy(&mut answers, &mut to_client);
            let _ = to_client.shutdown(Shutdown::Both);
        });
        let mut request = vec![0; 64 << 10];
        while let Ok(length @ 1..) = client.read(&mut request) {
            if request.starts_with(b"POST")
                && let Some(interrupt) = interrupt.lock().unwrap().take()
            {
                interrupt();
            }
            engine.write_all(&request[..length]).unwrap();
        }
        let _ = engine.shutdown(Shutdown::Write);
    });
    // All end with the process of the tests. A client may open a second connection while it keeps the
    // first.
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let pass_on = Arc::clone(&pass_on);
            thread::spawn(move || pass_on(client));
        }
    });
    url
}

/// The wait that the command has read is over when its request arrives.
#[test]
fn a_promotion_counts_for_the_wait_that_was_read() {
    let dev = Dev::start(&["--rate", "0"]);
    let id = deploy_slowly(&dev, "2.0.0");
    let first = next_wait(&dev, &id, "");
    let (folder, promoted) = (dev.folder.path().to_owned(), id.clone());
    let url = interrupt_first_post(dev.ready["server"].as_str().unwrap(), move || {
        let other = run(&folder, &["promote", &promoted]);
        assert_eq!(other.code, Some(0), "{other:?}");
        wait_for("the next wait", || {
            let state = run(&folder, &["get", &promoted, "--json"]);
            let state: Value = serde_json::from_str(&state.out).unwrap();
            let wait = state["waitId"].as_str().map(str::to_owned);
            wait.filter(|wait| *wait != first)
        });
    });
    let token = dev.ready["tokenFile"].as_str().unwrap();
    let late = dev.run(&["promote", &id, "--server", &url, "--token-file", token]);
    assert_eq!(late.code, Some(1), "{late:?}");
    assert!(late.err.contains("nothing was decided"), "{late:?}");
    // The wait that is under way now has not ended.
    assert!(dev.json(&["get", &id])["waitId"].is_string());
}
