//! With `--json`, standard output holds one object, however a command ends.

use serde_json::Value;

use crate::server::Fleet;
use crate::support::run;

#[test]
fn every_command_that_changes_something_prints_one_report() {
    let fleet = Fleet::start();
    let report = |args: &[&str]| {
        let outcome = fleet.run(&[args, &["--json"]].concat());
        assert_eq!(outcome.code, Some(0), "{args:?}: {outcome:?}");
        outcome.report()
    };
    let check = |report: &Value, id: &str, state: &str, next: &str| {
        assert_eq!(
            (&report["id"], &report["state"]),
            (&id.into(), &state.into())
        );
        assert_eq!(report["next"], next);
        assert!(report.get("error").is_none(), "{report}");
    };

    let path = fleet.folder.path();
    std::fs::write(path.join("hello.wasm"), hotswap_guests::HELLO_V1).unwrap();
    let uploaded = report(&["module", "upload", "hello@1.0.0", "hello.wasm"]);
    check(
        &uploaded,
        "hello@1.0.0",
        "uploaded",
        "hotswap deploy hello@1.0.0 -e ENV",
    );
    assert!(
        uploaded["digest"].is_string(),
        "the engine's response is part of it"
    );
    let halves = hotswap_guests::example_strategies();
    let halves = halves.iter().find(|guest| guest.name == "halves").unwrap();
    std::fs::write(path.join("halves.wasm"), halves.component).unwrap();
    let uploaded = report(&["strategy", "upload", "halves.wasm"]);
    let next = "hotswap deploy MODULE -e ENV --strategy halves";
    check(&uploaded, "halves", "uploaded", next);
    let deleted = report(&["strategy", "delete", "halves"]);
    assert_eq!(
        (&deleted["id"], &deleted["state"]),
        (&"halves".into(), &"deleted".into())
    );

    let deploy = ["deploy", "hello", "-e", "qa", "--require-approval"];
    let started = report(&deploy);
    let id = started["executionId"].as_str().unwrap();
    let (watch, resume) = (
        format!("hotswap watch {id}"),
        format!("hotswap resume {id}"),
    );
    check(&started, id, "pending", &watch);
    let busy = fleet.run(&[&deploy[..], &["--json"]].concat());
    let report_of_busy = busy.report();
    assert_eq!(report_of_busy["error"]["httpStatus"], 409, "{busy:?}");
    assert_eq!(report_of_busy["error"]["deployment"], id);
    assert_eq!(report_of_busy["next"], watch.as_str());

    assert_eq!(fleet.run(&["watch", id]).code, Some(5));
    check(&report(&["pause", id]), id, "paused", &resume);
    let twice = fleet.run(&["pause", id, "--json"]);
    assert_eq!(twice.code, Some(1), "{twice:?}");
    assert_eq!(twice.report()["id"], id, "the error tells what it is about");
    check(&report(&["resume", id]), id, "awaitingApproval", &watch);
    assert_eq!(report(&["approve", id])["next"], watch.as_str());
    assert_eq!(fleet.run(&["watch", id]).code, Some(0));
    let back = fleet.run(&["rollback", id, "--json"]);
    assert_eq!(back.code, Some(1), "nothing ran before: {back:?}");
    assert!(back.report()["error"]["message"].is_string());

    // Lists stay arrays.
    assert!(fleet.json(&["list"]).is_array());
    assert!(fleet.json(&["node", "list"]).is_array());
}

#[test]
fn errors_without_an_engine_are_reports_too() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("empty"), "").unwrap();
    for (args, code, word) in [
        (&["list", "--status", "done"][..], 2, "rolledBack"),
        (&["deploy", "hello"], 2, "--environment"),
        (&["watch", "17"], 2, "UUID"),
        (&["no-such-command"], 2, "no-such-command"),
        (&["list", "--server", "nowhere"], 2, "nowhere"),
        (&["list", "--token", ""], 2, "token"),
        (&["list", "--token-file", "nowhere"], 1, "nowhere"),
        (&["list", "--token-file", "empty"], 1, "empty"),
        (
            &["module", "upload", "hello@1.0.0", "nowhere"],
            1,
            "nowhere",
        ),
        (&["module", "upload", "hello@1.0.0", "."], 1, "folder"),
        (&["token"], 1, "hotswap.toml"),
        (&["serve", "--config", "nowhere"], 1, "nowhere"),
    ] {
        let outcome = run(folder.path(), &[args, &["--json"]].concat());
        assert_eq!(outcome.code, Some(code), "{args:?}: {outcome:?}");
        let report = outcome.report();
        let message = report["error"]["message"].as_str().unwrap();
        assert!(message.contains(word), "{args:?}: {outcome:?}");
        assert!(!outcome.err.is_empty(), "{args:?}: people are told as well");
    }
}
