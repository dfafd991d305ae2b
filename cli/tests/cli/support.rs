//! The real program, started as a user starts it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Six processes that compile modules on a machine that does other things besides.
const PATIENCE: Duration = Duration::from_secs(180);

/// The program, in a folder and with nothing of the tester's own environment.
pub fn hotswap(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hotswap"));
    command.args(args).current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars() {
        if name.starts_with("HOTSWAP_") {
            command.env_remove(name);
        }
    }
    command.env("HOTSWAP_EMAIL", "tester@example.org");
    command
}

/// How a run of the program ended, and what it said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

/// Runs it to its end.
pub fn run(folder: &Path, args: &[&str]) -> Said {
    let output = hotswap(folder, args).output().expect("the program starts");
    output.into()
}

/// Tries until `found` finds something.
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(
            Instant::now() < end,
            "{what}: not in {}s",
            PATIENCE.as_secs()
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a signal.
pub fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id");
    kill_process(pid, signal).expect("the process is there");
}

/// `hotswap dev` in a folder of its own.
pub struct Dev {
    pub folder: tempfile::TempDir,
    pub child: Child,
    pub ready: Value,
}

impl Dev {
    /// Starts it in a new folder and waits until it is ready.
    pub fn start(args: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), "0", args)
    }

    /// Starts it in this folder, on this port, and waits until it is ready.
    pub fn start_in(folder: tempfile::TempDir, port: &str, args: &[&str]) -> Self {
        let all = [&["dev", "--port", port, "--json"], args].concat();
        let mut child = hotswap(folder.path(), &all)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the program starts");
        let out = child.stdout.take().expect("a pipe");
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(out).read_line(&mut line);
            let _ = tell.send(line);
        });
        let line = told.recv_timeout(PATIENCE).unwrap_or_default();
        let Ok(ready) = serde_json::from_str(&line) else {
            let _ = child.kill();
            let log = fs::read_to_string(folder.path().join(".hotswap/dev/engine.log"));
            panic!("not ready: {line}\n{}", log.unwrap_or_default());
        };
        Self {
            folder,
            child,
            ready,
        }
    }

    /// Runs a command of the client beside it; server and token are found in the folder.
    pub fn run(&self, args: &[&str]) -> Said {
        run(self.folder.path(), args)
    }

    /// What a command with `--json` answers.
    pub fn json(&self, args: &[&str]) -> Value {
        let said = self.run(&[args, &["--json"]].concat());
        assert_eq!(said.code, Some(0), "{args:?}: {said:?}");
        serde_json::from_str(&said.out).expect("JSON")
    }

    /// The answer of each node of an environment to `GET /hello`, by the data port.
    pub fn answers(&self, environment: &str) -> Vec<String> {
        let nodes = self.json(&["nodes", "-e", environment]);
        let nodes = nodes.as_array().expect("a list");
        nodes
            .iter()
            .map(|node| get(node["dataUrl"].as_str().expect("a URL"), "/hello"))
            .collect()
    }

    /// Waits until it has ended.
    pub fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for("hotswap dev ends", || child.try_wait().expect("a child"))
    }

    /// Kills the process of a node.
    pub fn kill_node(&self, id: &str) {
        let of_node = |path: &PathBuf| {
            let line = fs::read(path.join("cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0)
                .any(|word| word == id.as_bytes())
        };
        let path = self
            .processes()
            .into_iter()
            .find(of_node)
            .expect("the node runs");
        let pid = path
            .file_name()
            .and_then(|pid| pid.to_str())
            .and_then(|pid| pid.parse().ok());
        let pid = pid.and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, Signal::KILL).expect("the process is there");
    }

    /// The processes that name this folder: those that it began.
    pub fn processes(&self) -> Vec<PathBuf> {
        let folder = self.folder.path().display().to_string();
        let named = |path: &PathBuf| {
            let line = fs::read(path.join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&folder)
        };
        let all = fs::read_dir("/proc").expect("processes").flatten();
        all.map(|entry| entry.path()).filter(named).collect()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Its nodes end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of the answer of a node.
fn get(server: &str, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let address = server.strip_prefix("http://").expect("an HTTP URL");
    let mut stream = std::net::TcpStream::connect(address).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}
