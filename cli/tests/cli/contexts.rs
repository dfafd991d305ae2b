//! Engines by name.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;

use crate::support::{Dev, hotswap, run};

/// Adds the engine of `dev` as `name`. Returns its address.
fn add(dev: &Dev, folder: &Path, name: &str) -> String {
    let server = fs::read_to_string(dev.folder.path().join(".hotswap/dev/server")).unwrap();
    let token = dev.folder.path().join(".hotswap/dev/token");
    let token = token.to_str().unwrap();
    let added = run(
        folder,
        &[
            "context",
            "add",
            name,
            "--server",
            server.trim(),
            "--token-file",
            token,
            "--json",
        ],
    );
    assert_eq!(added.code, Some(0), "{added:?}");
    let report = added.report();
    assert_eq!(report["state"], "saved");
    assert_eq!(report["next"], format!("hotswap context use {name}"));
    server.trim().to_owned()
}

#[test]
fn commands_call_the_engine_of_the_context() {
    let dev = Dev::start(&["--rate", "0"]);
    let folder = tempfile::tempdir().unwrap();
    let server = add(&dev, folder.path(), "mine");

    let named = run(folder.path(), &["node", "list", "--context", "mine"]);
    assert_eq!(named.code, Some(0), "{named:?}");
    let mut variable = hotswap(folder.path(), &["node", "list"]);
    let by_variable = variable.env("HOTSWAP_CONTEXT", "mine").output().unwrap();
    assert!(by_variable.status.success(), "{by_variable:?}");

    let used = run(folder.path(), &["context", "use", "mine"]);
    assert_eq!(used.code, Some(0), "{used:?}");
    assert!(used.err.contains(&server), "{used:?}");
    let nodes = run(folder.path(), &["node", "list", "--json"]);
    assert_eq!(nodes.code, Some(0), "{nodes:?}");
    let listed = run(folder.path(), &["context", "list"]);
    assert!(
        listed.out.contains('*') && listed.out.contains(&server),
        "{listed:?}"
    );

    let deleted = run(folder.path(), &["context", "delete", "mine"]);
    assert_eq!(deleted.code, Some(0), "{deleted:?}");
    let listed = run(folder.path(), &["context", "list", "--json"]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&listed.out).unwrap(),
        json!([])
    );
}

#[test]
fn a_token_that_is_saved_is_shown_to_nobody() {
    const TOKEN: &str = "a-token-that-nobody-sees";
    let folder = tempfile::tempdir().unwrap();
    let add = [
        "context",
        "add",
        "prod",
        "--server",
        "http://127.0.0.1:1",
        "--token",
        TOKEN,
    ];
    let added = run(folder.path(), &add);
    assert_eq!(added.code, Some(0), "{added:?}");
    let again = run(folder.path(), &add);
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.err.contains("--replace"), "{again:?}");
    let list = run(folder.path(), &["context", "list"]);
    let json = run(folder.path(), &["contexts", "list", "--json"]);
    for outcome in [added, again, list, json] {
        assert!(!format!("{outcome:?}").contains(TOKEN), "{outcome:?}");
    }

    let file = folder.path().join("config/hotswap/contexts.json");
    assert!(fs::read_to_string(&file).unwrap().contains(TOKEN));
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = run(folder.path(), &["context", "use", "prod"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("chmod 600"), "{refused:?}");
}

#[test]
fn errors_of_contexts_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for (args, word) in [
        (&["context", "use", "none"][..], "hotswap context add"),
        (&["context", "delete", "none"], "hotswap context list"),
        (
            &["node", "list", "--context", "none"],
            "hotswap context list",
        ),
        (&["context", "add", "a"], "--server"),
        (
            &["context", "add", "a", "--server", "nowhere"],
            "http://127.0.0.1:5000",
        ),
        (
            &["context", "add", "a b", "--server", "http://a"],
            "letters",
        ),
        (
            &["list", "--context", "a", "--server", "http://a"],
            "leave one away",
        ),
    ] {
        let outcome = run(folder.path(), args);
        assert_eq!(outcome.code, Some(2), "{args:?}: {outcome:?}");
        assert!(outcome.err.contains(word), "{args:?}: {outcome:?}");
    }
    assert!(!folder.path().join("config/hotswap/contexts.json").exists());
}
