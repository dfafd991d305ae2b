//! Engines and nodes, as an operator starts them.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Outcome, hotswap, run, signal, wait_for};

/// A server process, killed when dropped.
pub struct Server {
    child: Child,
    pub addr: String,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// Starts the server, and waits until it logs `message` with an address in `field`.
    pub fn start(folder: &Path, args: &[&str], message: &str, field: &str) -> Self {
        Self::start_command(hotswap(folder, args), message, field)
    }

    /// As [`Self::start`].
    pub fn start_command(mut command: Command, message: &str, field: &str) -> Self {
        let mut child = command
            .args(["--log-format", "json"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let all = Arc::new(Mutex::new(String::new()));
        let found = log.by_ref().map_while(Result::ok).find_map(|line| {
            append(&all, &line);
            let line: Value = serde_json::from_str(&line).ok()?;
            (line["message"] == message).then(|| line[field].as_str().map(str::to_owned))?
        });
        // Reads on to the end: a full pipe would block the server.
        let rest = Arc::clone(&all);
        std::thread::spawn(move || {
            log.map_while(Result::ok)
                .for_each(|line| append(&rest, &line));
        });
        let addr = found.unwrap_or_else(|| panic!("'{message}' is not in the log"));
        Self {
            child,
            addr,
            log: all,
        }
    }

    /// Starts a server that cannot write its log, and so does not say where it listens: at `addr`.
    pub fn start_without_log(folder: &Path, args: &[&str], addr: &str) -> Self {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        Self {
            child: hotswap(folder, args).stderr(full).spawn().unwrap(),
            addr: addr.to_owned(),
            log: Arc::default(),
        }
    }

    /// How it ended. `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// What it has logged so far, in JSON.
    pub fn log(&self) -> String {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Sends a signal.
    pub fn signal(&self, kind: Signal) {
        signal(&self.child, kind);
    }

    /// Ends the server without a chance to clean up.
    pub fn kill(mut self) {
        signal(&self.child, Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Asks the server to stop.
    pub fn terminate(&self) {
        signal(&self.child, Signal::TERM);
    }

    /// Stops the server as an operator does.
    pub fn stop(mut self) {
        signal(&self.child, Signal::TERM);
        let status = wait_for("the server ends", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

fn append(log: &Mutex<String>, line: &str) {
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    log.push_str(line);
    log.push('\n');
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An engine that knows signed tokens, and two nodes in the environment `qa`.
pub struct Fleet {
    pub folder: tempfile::TempDir,
    pub server: String,
    engine: Option<Server>,
    nodes: Vec<Server>,
}

impl Fleet {
    /// Starts them, and waits until the nodes have joined.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let jwt = "[jwt]\nalgorithm = \"HS256\"\nsecretFile = \"secret\"\nissuer = \"i\"\n\
            audience = \"a\"\n";
        std::fs::write(path.join("hotswap.toml"), jwt).unwrap();
        std::fs::write(path.join("secret"), "0123456789abcdef".repeat(2)).unwrap();
        let engine = start_engine(path, "127.0.0.1:0");
        let server = format!("http://{}", engine.addr);
        let nodes = ["n1", "n2"].map(|id| {
            let node = ["node", "run", "-e", "qa", "--id", id, "--engine", &server];
            let ports = ["--data", "127.0.0.1:0", "--control", "127.0.0.1:0"];
            let rest = ["--data-dir", id, "--token-file", "engine/node-token"];
            let node = [&node[..], &ports, &rest].concat();
            Server::start(path, &node, "node started", "data_addr")
        });
        let fleet = Self {
            folder,
            server,
            engine: Some(engine),
            nodes: nodes.into(),
        };
        wait_for("the nodes have joined", || {
            let nodes = fleet.json(&["node", "list"]);
            let passing = |node: &&Value| node["health"] == "passing";
            (nodes.as_array()?.iter().filter(passing).count() == 2).then_some(())
        });
        fleet
    }

    /// Kills the engine.
    pub fn kill_engine(&mut self) {
        self.engine.take().unwrap().kill();
    }

    /// Kills the node `n2`.
    pub fn kill_second_node(&mut self) {
        self.nodes.pop().unwrap().kill();
    }

    /// Starts the engine again, at the same address.
    pub fn restart_engine(&mut self) {
        let addr = self.server.strip_prefix("http://").unwrap();
        self.engine = Some(start_engine(self.folder.path(), addr));
    }

    /// A client command with the engine's own token.
    pub fn command(&self, args: &[&str]) -> Command {
        self.command_with_token("engine/token", args)
    }

    /// A client command with the token in this file.
    pub fn command_with_token(&self, file: &str, args: &[&str]) -> Command {
        let client = ["--server", &self.server, "--token-file", file];
        hotswap(self.folder.path(), &[&client, args].concat())
    }

    /// Runs a client command to its end.
    pub fn run(&self, args: &[&str]) -> Outcome {
        self.command(args).output().unwrap().into()
    }

    /// The JSON that a command prints which succeeds.
    pub fn json(&self, args: &[&str]) -> Value {
        let outcome = self.run(&[args, &["--json"]].concat());
        assert_eq!(outcome.code, Some(0), "{args:?}: {outcome:?}");
        serde_json::from_str(&outcome.out).unwrap()
    }

    /// Uploads version 1.0.0 of a module with this name.
    pub fn upload(&self, module: &str) {
        let file = self.folder.path().join("hello.wasm");
        std::fs::write(&file, hotswap_guests::HELLO_V1).unwrap();
        self.json(&["module", "upload", &format!("{module}@1.0.0"), "hello.wasm"]);
    }

    /// Starts a rollout of a new module that lasts for ten minutes. Returns its id once it
    /// waits.
    pub fn start_slow(&self, module: &str) -> String {
        self.upload(module);
        let accepted = self.json(&[&["deploy", module, "-e", "qa"], &SLOW[..]].concat());
        let id = accepted["executionId"].as_str().unwrap().to_owned();
        wait_for("the rollout waits", || {
            let state = self.json(&["get", &id]);
            state["waitingUntil"].is_u64().then_some(())
        });
        id
    }

    /// Writes a signed token to a file of the folder.
    pub fn write_token(&self, file: &str, expires: &str) {
        let token = ["token", "--role", "operator", "--expires", expires];
        let outcome = run(self.folder.path(), &token);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        // As one step, as tools that renew tokens do.
        let fresh = self.folder.path().join("fresh");
        std::fs::write(&fresh, outcome.out).unwrap();
        std::fs::rename(fresh, self.folder.path().join(file)).unwrap();
    }
}

/// Options of `deploy` for a rollout that lasts.
pub const SLOW: [&str; 6] = ["-s", "rolling", "--set", "batch=1", "--set", "settle=10m"];

fn start_engine(folder: &Path, listen: &str) -> Server {
    let serve = ["serve", "--listen", listen, "--data-dir", "engine"];
    Server::start(folder, &serve, "engine ready", "addr")
}
