//! `hotswap serve` and `hotswap node`, as an operator starts them.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{hotswap, run, signal, wait_for};

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
