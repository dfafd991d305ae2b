//! Policies from a file.

use crate::support::Dev;

#[test]
fn a_file_of_policies_is_applied_once() {
    let dev = Dev::start(&["--rate", "0"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policies.toml");
    std::fs::write(
        &file,
        "[environments.production]\nmaxUnavailable = \"25%\"\ndeadline = \"2h\"\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let planned = dev.run(&["apply", "-f", file, "--dry-run"]);
    assert_eq!(planned.code, Some(0), "{planned:?}");
    assert!(planned.out.contains("would be set"), "{planned:?}");
    assert!(
        planned.out.contains("maxUnavailable: 50% -> 25%"),
        "{planned:?}"
    );
    let applied = dev.json(&["apply", "-f", file, "--reason", "more care"]);
    assert_eq!(applied["state"], "applied");
    assert_eq!(applied["changed"], serde_json::json!(["production"]));
    let again = dev.run(&["apply", "-f", file]);
    assert!(again.out.contains("is so already"), "{again:?}");
    let environment = dev.run(&["environment", "get", "production"]);
    assert!(environment.out.contains("25%"), "{environment:?}");
    let events = dev.run(&["environment", "events", "production"]);
    assert!(events.out.contains("more care"), "{events:?}");

    std::fs::write(file, "listen = \"127.0.0.1:0\"\n").unwrap();
    let refused = dev.run(&["apply", "-f", file]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("listen"), "{refused:?}");
}
