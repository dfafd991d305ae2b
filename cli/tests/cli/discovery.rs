//! `hotswap discovery`, with a list of nodes in a file.

use crate::server::Server;
use crate::support::{Outcome, run, wait_for};

#[test]
fn a_list_of_nodes_is_shown_checked_and_told_when_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let list = path.join("nodes.json");
    let nodes = r#"{"nodes":[{"id":"edge-1","environment":"qa","controlUrl":"http://10.0.0.1:1"},{"id":"-"}]}"#;
    std::fs::write(&list, nodes).unwrap();
    let config = "[[discovery]]\nname = \"list\"\nbackend = \"static\"\nfile = \"nodes.json\"\n";
    std::fs::write(path.join("hotswap.toml"), config).unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "engine"];
    let engine = Server::start(path, &serve, "engine ready", "addr");
    let server = format!("http://{}", engine.addr);
    let client = |args: &[&str]| -> Outcome {
        let all = ["--server", &server, "--token-file", "engine/token"];
        run(path, &[&all, args].concat())
    };
    wait_for("the list was read", || {
        let listed = client(&["discovery", "list", "--json"]);
        let listed: serde_json::Value = serde_json::from_str(&listed.out).unwrap();
        (listed["sources"][1]["condition"] == "healthy").then_some(())
    });
    let listed = client(&["discovery", "list"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert!(
        listed.out.contains("built-in") && listed.out.contains("static"),
        "{listed:?}"
    );
    let shown = client(&["discovery", "get", "list"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for text in [
        "edge-1",
        "qa",
        "http://10.0.0.1:1",
        "1 instances cannot be nodes",
    ] {
        assert!(shown.out.contains(text), "{text}: {shown:?}");
    }
    assert_eq!(client(&["discovery", "check", "list"]).code, Some(0));
    let json = client(&["discovery", "get", "list", "--json"]).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["instances"][0]["id"], "edge-1");
    std::fs::remove_file(&list).unwrap();
    let checked = client(&["discovery", "check", "list"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.out.contains("stale"), "{checked:?}");
    assert!(
        checked.out.contains("cannot read the list of nodes"),
        "{checked:?}"
    );
    assert!(checked.out.contains("edge-1"), "{checked:?}");
    let unknown = client(&["discovery", "get", "nowhere"]);
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    engine.stop();
}

#[test]
fn an_engine_with_a_source_that_cannot_work_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (source, expected) in [
        (
            "backend = \"zookeeper\"\norigins = [\"http://a:1\"]",
            "there is no backend 'zookeeper'",
        ),
        ("backend = \"consul\"", "origins is empty"),
        (
            "backend = \"consul\"\norigins = [\"https://a:1\"]\ncaFile = \"missing.pem\"",
            "cannot read missing.pem",
        ),
        (
            "backend = \"consul\"\norigins = [\"http://a:1\"]\nsettings = { agent = \"x\" }",
            "unknown property agent",
        ),
        (
            "backend = \"consul\"\norigins = [\"http://a:1\"]\nsecrets = { tokn = \"x\" }",
            "has no secret 'tokn'; it has: token",
        ),
        (
            "backend = \"consul\"\norigins = [\"http://a:1\"]\nsecrets = { token = \"missing\" }",
            "missing",
        ),
        (
            "backend = \"missing.wasm\"\norigins = [\"http://a:1\"]",
            "cannot read the component",
        ),
    ] {
        let config = format!("[[discovery]]\nname = \"main\"\n{source}\n");
        std::fs::write(path.join("hotswap.toml"), config).unwrap();
        let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "engine"];
        let outcome = run(path, &serve);
        assert_eq!(outcome.code, Some(1), "{source}: {outcome:?}");
        assert!(outcome.err.contains(expected), "{expected}: {outcome:?}");
        assert!(outcome.err.contains("main"), "{outcome:?}");
    }
}
