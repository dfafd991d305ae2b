//! `hotswap serve` and `hotswap node`, as an operator starts them.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Said, hotswap, run, signal, wait_for};

/// A server, ended with the test whatever becomes of it.
struct Server {
    child: Child,
    addr: String,
}

impl Server {
    /// Starts it and waits until its log says `message` with an address in `field`.
    fn start(folder: &Path, args: &[&str], message: &str, field: &str) -> Self {
        let mut child = hotswap(folder, &[args, &["--log-format", "json"]].concat())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let found = log.by_ref().map_while(Result::ok).find_map(|line| {
            let line: Value = serde_json::from_str(&line).ok()?;
            (line["message"] == message).then(|| line[field].as_str().map(str::to_owned))?
        });
        // Read to the end: a log that nobody reads would stop the server.
        std::thread::spawn(move || log.for_each(drop));
        let addr = found.unwrap_or_else(|| panic!("'{message}' is not in the log"));
        Self { child, addr }
    }

    /// Ends it without a chance to do anything about it.
    fn kill(mut self) {
        signal(&self.child, Signal::KILL);
        self.child.wait().unwrap();
    }

    fn stop(mut self) {
        signal(&self.child, Signal::TERM);
        let status = wait_for("the server ends", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_engine_makes_its_tokens_on_loopback_and_a_node_joins_with_one() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "engine"];
    let engine = Server::start(here, &serve, "engine ready", "addr");
    let server = format!("http://{}", engine.addr);
    let client = |args: &[&str]| {
        let all = [&["--server", &server, "--token-file", "engine/token"], args].concat();
        let said = run(here, &all);
        assert_eq!(said.code, Some(0), "{args:?}: {said:?}");
        said.out
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
        here,
        &[&node[..], &ports, &token].concat(),
        "node started",
        "data_addr",
    );
    let nodes = wait_for("the node has joined", || {
        let nodes: Value = serde_json::from_str(&client(&["nodes", "--json"])).unwrap();
        (nodes[0]["health"] == "passing").then_some(nodes)
    });
    assert_eq!(nodes[0]["id"], "n1");
    assert_eq!(nodes[0]["zone"], "a");
    assert_eq!(nodes[0]["labels"]["rack"], "7");
    assert_eq!(nodes[0]["dataUrl"], format!("http://{}", node.addr));

    // The node's token opens nothing of people's.
    let said = run(
        here,
        &[
            "--server",
            &server,
            "--token-file",
            "engine/node-token",
            "list",
        ],
    );
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("403"), "{said:?}");

    node.stop();
    engine.stop();
}

#[test]
fn an_engine_with_a_bad_key_says_so_and_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let jwt =
        "[jwt]\nalgorithm = \"HS256\"\nsecretFile = \"secret\"\nissuer = \"i\"\naudience = \"a\"";
    std::fs::write(here.join("hotswap.toml"), jwt).unwrap();
    std::fs::write(here.join("secret"), "too-short\n").unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "engine"];
    let said = run(here, &serve);
    assert_eq!(said.code, Some(1), "{said:?}");
    for word in ["secret", "9 bytes", "openssl rand"] {
        assert!(said.err.contains(word), "{word}: {said:?}");
    }
    assert!(!said.err.contains("too-short"), "{said:?}");
    assert!(!here.join("engine/engine.db").exists());
}

#[test]
fn who_watches_misses_nothing_while_the_engine_is_killed_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let serve = |listen: &str| {
        let args = ["serve", "--listen", listen, "--data-dir", "engine"];
        Server::start(here, &args, "engine ready", "addr")
    };
    let mut engine = serve("127.0.0.1:0");
    let addr = engine.addr.clone();
    let server = format!("http://{addr}");
    let of_client = |args: &[&str]| -> Vec<String> {
        let all = [&["--server", &server, "--token-file", "engine/token"], args].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    let client = |args: &[&str]| {
        let all = of_client(args);
        let said = run(here, &all.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(said.code, Some(0), "{args:?}: {said:?}");
        said.out
    };
    let node = |id: &str| {
        let node = ["node", "-e", "qa", "--id", id, "--engine", &server];
        let ports = ["--data", "127.0.0.1:0", "--control", "127.0.0.1:0"];
        let rest = ["--dir", id, "--token-file", "engine/node-token"];
        let args = [&node[..], &ports, &rest].concat();
        Server::start(here, &args, "node started", "data_addr")
    };
    let nodes = [node("n1"), node("n2")];
    wait_for("the nodes have joined", || {
        let nodes: Value = serde_json::from_str(&client(&["nodes", "--json"])).unwrap();
        let passing = |node: &&Value| node["health"] == "passing";
        (nodes.as_array()?.iter().filter(passing).count() == 2).then_some(())
    });
    std::fs::write(here.join("hello.wasm"), hotswap_guests::HELLO_V1).unwrap();
    client(&["module", "push", "hello@1.0.0", "hello.wasm"]);

    let rolling = ["-s", "rolling", "-c", "batch=1", "-c", "settle=2s"];
    let out = client(&[&["deploy", "hello@1.0.0", "-e", "qa"][..], &rolling].concat());
    let id = out.lines().next().unwrap().trim();
    client(&["pause", id]);
    let watch = of_client(&["watch", id, "--json"]);
    let mut watching = hotswap(here, &watch.iter().map(String::as_str).collect::<Vec<_>>())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(watching.stdout.take().unwrap());
    let mut events = Vec::new();
    // Reads on until it has been told of this.
    let until = |told: &mut BufReader<_>, events: &mut Vec<Value>, kind: &str| loop {
        let mut line = String::new();
        assert_ne!(
            told.read_line(&mut line).unwrap(),
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

    // While nothing happens; and then in the middle of what does.
    until(&mut told, &mut events, "paused");
    engine.kill();
    engine = serve(&addr);
    client(&["resume", id]);
    until(&mut told, &mut events, "resumed");
    engine.kill();
    engine = serve(&addr);

    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    let rest = rest.lines().map(|line| serde_json::from_str(line).unwrap());
    events.extend(rest);
    let watched: Said = watching.wait_with_output().unwrap().into();
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
fn two_engines_do_not_share_a_port_and_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let said = run(
        folder.path(),
        &["serve", "--listen", &addr, "--data-dir", "engine"],
    );
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.err.contains(&addr) && said.err.contains("another address"),
        "{said:?}"
    );
}
