//! `hotswap serve` and `hotswap node run`, as an operator starts them.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use hotswap_common::free_ports;
use serde_json::Value;

use crate::server::Server;
use crate::support::{Outcome, get, hotswap, run, wait_for};

#[test]
fn an_engine_generates_its_tokens_on_loopback_and_a_node_joins_with_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "engine"];
    let engine = Server::start(path, &serve, "engine ready", "addr");
    let server = format!("http://{}", engine.addr);
    let client = |args: &[&str]| {
        let all = [&["--server", &server, "--token-file", "engine/token"], args].concat();
        let outcome = run(path, &all);
        assert_eq!(outcome.code, Some(0), "{args:?}: {outcome:?}");
        outcome.out
    };
    assert!(client(&["strategy", "list"]).contains("canary"));

    let node = [
        "node", "-e", "qa", "--id", "n1", "--engine", &server, "--dir", "node",
    ];
    let ports = ["--data", "127.0.0.1:0", "--control", "127.0.0.1:0"];
    let token = [
        "--token-file",
        "engine/node-token",
        "--zone",
        "a",
        "--label",
        "rack=7",
    ];
    let node = Server::start(
        path,
        &[&node[..], &ports, &token].concat(),
        "node started",
        "data_addr",
    );
    let nodes = wait_for("the node has joined", || {
        let nodes: Value = serde_json::from_str(&client(&["node", "list", "--json"])).unwrap();
        (nodes[0]["health"] == "passing").then_some(nodes)
    });
    assert_eq!(nodes[0]["id"], "n1");
    assert_eq!(nodes[0]["zone"], "a");
    assert_eq!(nodes[0]["labels"]["rack"], "7");
    assert_eq!(nodes[0]["dataUrl"], format!("http://{}", node.addr));
    let shown = client(&["node", "get", "n1"]);
    assert!(
        shown.contains("rack=7") && shown.contains(&node.addr),
        "{shown}"
    );
    let node_state: Value =
        serde_json::from_str(&client(&["node", "get", "n1", "--json"])).unwrap();
    assert_eq!(node_state["id"], "n1");
    let environments = client(&["environment", "list"]);
    assert!(environments.contains("qa") && environments.contains("1 passing"));
    let environments: Value =
        serde_json::from_str(&client(&["environment", "list", "--json"])).unwrap();
    assert_eq!(environments[0]["environment"], "qa");
    let environment = client(&["environment", "get", "qa"]);
    assert!(
        environment.contains("rolling") && environment.contains("n1"),
        "{environment}"
    );
    let environment: Value =
        serde_json::from_str(&client(&["environment", "get", "qa", "--json"])).unwrap();
    assert_eq!(environment["nodes"][0]["id"], "n1");

    // The node's token does not grant access to the API of people.
    let outcome = run(
        path,
        &[
            "--server",
            &server,
            "--token-file",
            "engine/node-token",
            "list",
        ],
    );
    assert_eq!(outcome.code, Some(7), "{outcome:?}");
    assert!(outcome.err.contains("403"), "{outcome:?}");

    node.stop();
    engine.stop();
}

#[test]
fn a_node_serves_on_for_its_lame_duck_time_and_a_second_signal_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "engine"];
    let engine = Server::start(path, &serve, "engine ready", "addr");
    let server = format!("http://{}", engine.addr);
    let node = [
        "node",
        "run",
        "-e",
        "qa",
        "--id",
        "n1",
        "--engine",
        &server,
        "--data-dir",
        "node",
    ];
    let rest = ["--token-file", "engine/node-token", "--lame-duck", "1h"];
    let ports = ["--data", "127.0.0.1:0", "--control", "127.0.0.1:0"];
    let node = [&node[..], &rest, &ports].concat();
    let node = Server::start(path, &node, "node started", "data_addr");
    let url = format!("http://{}", node.addr);
    let status = || get(&url, "/.hotswap/ready")[9..12].to_owned();
    wait_for("the node is ready", || (status() == "200").then_some(()));
    node.terminate();
    wait_for("it is not ready", || (status() == "503").then_some(()));
    assert_eq!(&get(&url, "/no-module")[9..12], "404", "and it serves");
    node.stop();
    engine.stop();
}

/// What happens where Kubernetes replaces a pod.
#[test]
fn an_engine_waits_for_one_that_stops_and_not_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "engine"];
    let serve = [&serve[..], &["--lame-duck", "3s"]].concat();
    let first = Server::start(path, &serve, "engine ready", "addr");
    let second = run(path, &serve);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.err.contains("is in use by"), "{second:?}");
    first.terminate();
    let marker = path.join("engine/stopping");
    wait_for("the first one stops", || marker.exists().then_some(()));
    let successor = Server::start(path, &serve, "engine ready", "addr");
    assert!(!marker.exists());
    successor.stop();
    first.stop();
}

#[test]
fn an_engine_with_an_unusable_key_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let jwt =
        "[jwt]\nalgorithm = \"HS256\"\nsecretFile = \"secret\"\nissuer = \"i\"\naudience = \"a\"";
    std::fs::write(path.join("hotswap.toml"), jwt).unwrap();
    std::fs::write(path.join("secret"), "too-short\n").unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "engine"];
    let outcome = run(path, &serve);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    for word in ["secret", "9 bytes", "openssl rand"] {
        assert!(outcome.err.contains(word), "{word}: {outcome:?}");
    }
    assert!(!outcome.err.contains("too-short"), "{outcome:?}");
    assert!(!path.join("engine/engine.db").exists());
}

#[test]
fn a_watcher_misses_nothing_while_the_engine_is_killed_and_restarted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let serve = |listen: &str| {
        let args = ["serve", "--listen", listen, "--data-dir", "engine"];
        Server::start(path, &args, "engine ready", "addr")
    };
    let mut engine = serve("127.0.0.1:0");
    let addr = engine.addr.clone();
    let server = format!("http://{addr}");
    let client_args = |args: &[&str]| -> Vec<String> {
        let all = [&["--server", &server, "--token-file", "engine/token"], args].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    let client = |args: &[&str]| {
        let all = client_args(args);
        let outcome = run(path, &all.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(outcome.code, Some(0), "{args:?}: {outcome:?}");
        outcome.out
    };
    let node = |id: &str| {
        let node = ["node", "run", "-e", "qa", "--id", id, "--engine", &server];
        let ports = ["--data", "127.0.0.1:0", "--control", "127.0.0.1:0"];
        let rest = ["--data-dir", id, "--token-file", "engine/node-token"];
        let args = [&node[..], &ports, &rest].concat();
        Server::start(path, &args, "node started", "data_addr")
    };
    let nodes = [node("n1"), node("n2")];
    wait_for("the nodes have joined", || {
        let nodes: Value = serde_json::from_str(&client(&["node", "list", "--json"])).unwrap();
        let passing = |node: &&Value| node["health"] == "passing";
        (nodes.as_array()?.iter().filter(passing).count() == 2).then_some(())
    });
    std::fs::write(path.join("hello.wasm"), hotswap_guests::HELLO_V1).unwrap();
    client(&["module", "upload", "hello@1.0.0", "hello.wasm"]);
    assert!(client(&["module", "get", "hello"]).contains("1.0.0"));
    assert!(client(&["module", "get", "hello@1.0.0"]).contains("sha256:"));

    let rolling = ["-s", "rolling", "-c", "batch=1", "-c", "settle=2s"];
    let out = client(&[&["deploy", "hello@1.0.0", "-e", "qa"][..], &rolling].concat());
    let id = out.lines().next().unwrap().trim();
    client(&["pause", id]);
    let watch = client_args(&["deployment", "events", id, "--follow", "--json"]);
    let mut watching = hotswap(path, &watch.iter().map(String::as_str).collect::<Vec<_>>())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(watching.stdout.take().unwrap());
    let mut events = Vec::new();
    // Reads events up to one of this kind.
    let read_until = |output: &mut BufReader<_>, events: &mut Vec<Value>, kind: &str| loop {
        let mut line = String::new();
        assert_ne!(
            output.read_line(&mut line).unwrap(),
            0,
            "no {kind}: {events:?}"
        );
        let event: Value = serde_json::from_str(&line).unwrap();
        let found = event["body"]["type"] == kind;
        events.push(event);
        if found {
            break;
        }
    };

    // The engine is killed while nothing happens, and then while the rollout runs.
    read_until(&mut output, &mut events, "paused");
    engine.kill();
    engine = serve(&addr);
    client(&["resume", id]);
    read_until(&mut output, &mut events, "resumed");
    engine.kill();
    engine = serve(&addr);

    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    let rest = rest.lines().map(|line| serde_json::from_str(line).unwrap());
    events.extend(rest);
    let watched: Outcome = watching.wait_with_output().unwrap().into();
    assert_eq!(watched.code, Some(0), "{watched:?} {events:?}");
    assert!(watched.err.contains("reconnecting: "), "{watched:?}");
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], number, "none lost, none twice");
    }
    let last = &events.last().unwrap()["body"];
    assert_eq!(last["type"], "ended");
    assert_eq!(last["data"]["outcome"], "succeeded");
    for node in nodes {
        node.stop();
    }
    engine.stop();
}

#[test]
fn a_damaged_deployment_is_shown_with_its_place_and_terminated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let serve = |listen: &str| {
        let args = ["serve", "--listen", listen, "--data-dir", "engine"];
        Server::start(path, &args, "engine ready", "addr")
    };
    let engine = serve("127.0.0.1:0");
    let addr = engine.addr.clone();
    let server = format!("http://{addr}");
    let try_client = |args: &[&str]| {
        let all = [&["--server", &server, "--token-file", "engine/token"], args].concat();
        run(path, &all)
    };
    let client = |args: &[&str]| {
        let outcome = try_client(args);
        assert_eq!(outcome.code, Some(0), "{args:?}: {outcome:?}");
        outcome.out
    };
    let run_node = ["node", "run", "-e", "qa", "--id", "n1", "--engine", &server];
    let ports = ["--data", "127.0.0.1:0", "--control", "127.0.0.1:0"];
    let rest = ["--data-dir", "n1", "--token-file", "engine/node-token"];
    let args = [&run_node[..], &ports, &rest].concat();
    let node = Server::start(path, &args, "node started", "data_addr");
    wait_for("the node has joined", || {
        let nodes: Value = serde_json::from_str(&client(&["node", "list", "--json"])).unwrap();
        (nodes[0]["health"] == "passing").then_some(())
    });
    std::fs::write(path.join("hello.wasm"), hotswap_guests::HELLO_V1).unwrap();
    client(&["module", "upload", "hello@1.0.0", "hello.wasm"]);
    let direct = ["deploy", "hello@1.0.0", "-e", "qa", "-s", "direct"];
    let out = client(&[&direct[..], &["--require-approval"]].concat());
    let id = out.lines().next().unwrap().trim();
    wait_for("the question", || {
        let state: Value = serde_json::from_str(&client(&["get", id, "--json"])).unwrap();
        (state["status"] == "awaitingApproval").then_some(())
    });
    engine.stop();
    let database = rusqlite::Connection::open(path.join("engine/engine.db")).unwrap();
    let sql = "UPDATE event SET body = CAST('{' AS BLOB) WHERE seq = 1";
    assert_eq!(database.execute(sql, []).unwrap(), 1);
    drop(database);

    let engine = serve(&addr);
    let place = "event 1 (position 2) of the journal cannot be read";
    let shown = client(&["deployment", "get", id]);
    let next = format!("hotswap deployment terminate {id}");
    assert!(shown.contains(place) && shown.contains(&next), "{shown}");
    assert!(client(&["deployment", "list"]).contains("! damaged"));
    for command in ["watch", "events", "abort"] {
        let outcome = try_client(&["deployment", command, id]);
        assert_ne!(outcome.code, Some(0), "{command}: {outcome:?}");
        assert!(outcome.err.contains("terminate"), "{command}: {outcome:?}");
    }
    client(&["deployment", "terminate", id, "--reason", "torn"]);
    let ended = wait_for("the end", || {
        let state: Value = serde_json::from_str(&client(&["get", id, "--json"])).unwrap();
        (!state["endedAt"].is_null()).then_some(state)
    });
    let cause = &ended["cause"]["message"];
    assert_eq!(cause, "terminated by tester@example.org: torn");
    client(&[&direct[..], &["--wait"]].concat());
    node.stop();
    engine.stop();
}

#[test]
fn a_taken_port_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let outcome = run(
        folder.path(),
        &["serve", "--listen", &addr, "--data-dir", "engine"],
    );
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(
        outcome.err.contains(&addr) && outcome.err.contains("another address"),
        "{outcome:?}"
    );
}

/// As on a full disk with `2>>engine.log`.
#[test]
fn engine_and_node_go_on_where_the_log_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let listen = format!("127.0.0.1:{}", free_ports(1).unwrap()[0]);
    let serve = ["serve", "--listen", &listen, "--data-dir", "engine"];
    let mut engine = Server::start_without_log(path, &serve, &listen);
    let server = format!("http://{listen}");
    let client = |args: &[&str]| {
        let all = [&["--server", &server, "--token-file", "engine/token"], args].concat();
        run(path, &all)
    };
    wait_for("the engine serves", || {
        assert_eq!(engine.ended(), None, "the engine has ended");
        (client(&["strategy", "list"]).code == Some(0)).then_some(())
    });
    let node = [
        "node",
        "run",
        "-e",
        "qa",
        "--id",
        "n1",
        "--engine",
        &server,
        "--data-dir",
        "node",
    ];
    let ports = ["--data", "127.0.0.1:0", "--control", "127.0.0.1:0"];
    let token = ["--token-file", "engine/node-token"];
    let node = [&node[..], &ports, &token].concat();
    let mut node = Server::start_without_log(path, &node, "");
    wait_for("the node has joined", || {
        assert_eq!(node.ended(), None, "the node has ended");
        let nodes = client(&["node", "list", "--json"]);
        let nodes: Value = serde_json::from_str(&nodes.out).unwrap();
        (nodes[0]["health"] == "passing").then_some(())
    });
    std::fs::write(path.join("hello.wasm"), hotswap_guests::HELLO_V1).unwrap();
    for args in [
        &["module", "upload", "hello@1.0.0", "hello.wasm"][..],
        &[
            "deploy",
            "hello@1.0.0",
            "-e",
            "qa",
            "-s",
            "direct",
            "--wait",
        ],
    ] {
        let outcome = client(args);
        assert_eq!(outcome.code, Some(0), "{args:?}: {outcome:?}");
    }
    node.stop();
    engine.stop();
}
