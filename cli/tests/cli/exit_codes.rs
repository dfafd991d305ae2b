//! Every exit code of the reference, each from a real process.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::Stdio;

use rustix::process::Signal;

use crate::server::{Fleet, SLOW};
use crate::support::{Outcome, run, signal};
use crate::wrong_servers::{Reply, WrongServer};

#[test]
fn every_exit_code_of_the_reference_ends_a_real_process() {
    let fleet = Fleet::start();
    let mut seen = BTreeMap::new();
    let mut note = |outcome: &Outcome, reason: &str, next: &str| {
        let report = outcome.report();
        assert_eq!(report["exitReason"], reason, "{outcome:?}");
        let told = report["next"].as_str().unwrap_or_default();
        assert!(told.contains(next), "{next}: {outcome:?}");
        seen.insert(outcome.code.unwrap(), reason.to_owned());
    };

    fleet.upload("done");
    let deploy = ["deploy", "done", "-e", "qa", "--wait", "--json"];
    let done = fleet.run(&deploy);
    note(&done, "done", "");
    assert_eq!(done.report()["state"], "succeeded");
    note(
        &fleet.run(&["deploy", "nothing", "-e", "qa", "--json"]),
        "error",
        "",
    );
    note(&fleet.run(&["deploy", "--json"]), "usage", "--help");

    let id = fleet.start_slow("slow");
    let watch = ["watch", &id, "--json", "--timeout", "1s"];
    let timed_out = fleet.run(&watch);
    note(&timed_out, "timedOut", &format!("hotswap watch {id}"));
    let report = timed_out.report();
    assert_eq!(
        (&report["state"], &report["id"]),
        (&"running".into(), &id.as_str().into())
    );
    assert_eq!(
        report["moduleName"], "slow",
        "the engine's state is part of it"
    );
    fleet.json(&["pause", &id]);
    let paused = fleet.run(&watch);
    note(&paused, "paused", &format!("hotswap resume {id}"));
    assert_eq!(paused.report()["state"], "paused");
    fleet.json(&["abort", &id]);
    let aborted = fleet.run(&["watch", &id, "--json"]);
    note(&aborted, "notSucceeded", "");
    assert_eq!(aborted.report()["state"], "rolledBack");

    fleet.upload("gated");
    let deploy = ["deploy", "gated", "-e", "qa", "--require-approval"];
    let undecided = fleet.run(&[&deploy[..], &["--wait", "--json"]].concat());
    note(&undecided, "awaitingApproval", "hotswap approve");
    let report = undecided.report();
    assert_eq!(report["state"], "awaitingApproval");
    let id = report["id"].as_str().unwrap();
    let patient = [
        "watch",
        id,
        "--json",
        "--through-approval",
        "--timeout",
        "1s",
    ];
    note(&fleet.run(&patient), "awaitingApproval", "hotswap reject");

    let stranger = fleet.command_with_token("secret", &["list", "--json"]);
    note(&output(stranger), "notAuthorized", "--token-file");
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let nowhere = format!("http://{free}");
    let nowhere = ["--server", &nowhere, "list", "--json"];
    note(
        &run(fleet.folder.path(), &nowhere),
        "unreachable",
        "hotswap dev",
    );
    let other = WrongServer::start(Reply::Json);
    let other = ["--server", &other.url, "list", "--json"];
    note(&run(fleet.folder.path(), &other), "wrongServer", "--server");

    for (module, sent, reason) in [
        ("interrupted", Signal::INT, "interrupted"),
        ("terminated", Signal::TERM, "terminated"),
    ] {
        fleet.upload(module);
        let deploy = ["deploy", module, "-e", "qa", "--wait", "--json"];
        let mut waiting = fleet
            .command(&[&deploy, &SLOW[..]].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(waiting.stderr.take().unwrap());
        let mut started = String::new();
        errors.read_line(&mut started).unwrap();
        let id = started.trim().rsplit(' ').next().unwrap();
        signal(&waiting, sent);
        let stopped: Outcome = waiting.wait_with_output().unwrap().into();
        note(&stopped, reason, &format!("hotswap watch {id}"));
        let message = errors.lines().next().unwrap().unwrap();
        assert_eq!(message, format!("{reason}; the deployment continues"));
        assert!(
            !fleet.json(&["get", id])["endedAt"].is_u64(),
            "it has ended"
        );
        fleet.json(&["abort", id]);
        assert_eq!(fleet.run(&["watch", id]).code, Some(3));
    }

    let reference = run(fleet.folder.path(), &["reference", "cli"]).out;
    let table = reference.split("## Exit codes").nth(1).unwrap();
    let rows = table.lines().filter_map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let code = cells.next()?.parse().ok()?;
        Some((code, cells.next()?.trim_matches('`').to_owned()))
    });
    assert_eq!(seen, rows.collect::<BTreeMap<i32, String>>());
}

fn output(mut command: std::process::Command) -> Outcome {
    command.output().unwrap().into()
}
