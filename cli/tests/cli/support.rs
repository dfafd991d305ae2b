//! Starts the real program as a user does.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Six processes compile modules, on a machine that may be busy.
const TIMEOUT: Duration = Duration::from_secs(180);

/// The program in a folder, without the `HOTSWAP_` variables of the user who runs the tests.
pub fn hotswap(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hotswap"));
    command.args(args).current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars() {
        if name.starts_with("HOTSWAP_") {
            command.env_remove(name);
        }
    }
    command.env("HOTSWAP_EMAIL", "tester@example.org");
    let compiled = hotswap_tests::tools::compiled_folder();
    command.env("HOTSWAP_COMPILED_DIR", compiled.expect("a folder"));
    // No contexts of the user who runs the tests.
    command.env("XDG_CONFIG_HOME", folder.join("config"));
    // Tests run at a terminal and in CI alike.
    command.env_remove("CI");
    command
}

/// The exit code and the output of a run.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Outcome {
    /// The one object on standard output of a command with `--json`, which has the members of
    /// every report.
    pub fn report(&self) -> Value {
        let report: Value = serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("not one JSON value: {error}: {self:?}"));
        for member in ["id", "state", "exitReason", "exitCode", "message", "next"] {
            assert!(report.get(member).is_some(), "no {member}: {self:?}");
        }
        assert_eq!(
            report["exitCode"].as_i64(),
            self.code.map(i64::from),
            "{self:?}"
        );
        report
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

/// Runs the program to its end.
pub fn run(folder: &Path, args: &[&str]) -> Outcome {
    let output = hotswap(folder, args).output().expect("the program starts");
    output.into()
}

/// Polls until `poll` returns something.
pub fn wait_for<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + TIMEOUT;
    loop {
        if let Some(result) = poll() {
            return result;
        }
        assert!(
            Instant::now() < end,
            "{what}: not in {}s",
            TIMEOUT.as_secs()
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
    /// Starts it in a new folder, and waits until it is ready.
    pub fn start(args: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), "0", args)
    }

    /// Starts it in this folder, on this port, and waits until it is ready.
    pub fn start_in(folder: tempfile::TempDir, port: &str, args: &[&str]) -> Self {
        let command = hotswap(folder.path(), &[&Self::args(port)[..], args].concat());
        Self::start_as(command, folder)
    }

    /// Starts it in a new folder, with the folder of this program in front of the PATH.
    pub fn start_with(program: &Path, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = hotswap(folder.path(), &[&Self::args("0")[..], args].concat());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let first = program.parent().map(Path::to_owned);
        let path = std::env::join_paths(first.into_iter().chain(std::env::split_paths(&path)));
        command.env("PATH", path.expect("folders"));
        Self::start_as(command, folder)
    }

    fn args(port: &str) -> [&str; 4] {
        ["dev", "--port", port, "--json"]
    }

    fn start_as(mut command: Command, folder: tempfile::TempDir) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the program starts");
        let out = child.stdout.take().expect("a pipe");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(out).read_line(&mut line);
            let _ = sender.send(line);
        });
        let line = receiver.recv_timeout(TIMEOUT).unwrap_or_default();
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

    /// Runs a client command. It finds the server and the token in the folder.
    pub fn run(&self, args: &[&str]) -> Outcome {
        run(self.folder.path(), args)
    }

    /// The JSON that a command prints with `--json`.
    pub fn json(&self, args: &[&str]) -> Value {
        let outcome = self.run(&[args, &["--json"]].concat());
        assert_eq!(outcome.code, Some(0), "{args:?}: {outcome:?}");
        serde_json::from_str(&outcome.out).expect("JSON")
    }

    /// The response of each node of an environment to `GET /hello`.
    pub fn responses(&self, environment: &str) -> Vec<String> {
        let nodes = self.json(&["node", "list", "-e", environment]);
        let nodes = nodes.as_array().expect("a list");
        nodes
            .iter()
            .map(|node| get(node["dataUrl"].as_str().expect("a URL"), "/hello"))
            .collect()
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for("hotswap dev ends", || child.try_wait().expect("a child"))
    }

    /// Kills the process of a node.
    pub fn kill_node(&self, id: &str) {
        let is_node = |path: &PathBuf| {
            let line = fs::read(path.join("cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0)
                .any(|word| word == id.as_bytes())
        };
        let path = self
            .processes()
            .into_iter()
            .find(is_node)
            .expect("the node runs");
        let pid = path
            .file_name()
            .and_then(|pid| pid.to_str())
            .and_then(|pid| pid.parse().ok());
        let pid = pid.and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, Signal::KILL).expect("the process is there");
    }

    /// The processes whose command line names this folder: those that it started.
    pub fn processes(&self) -> Vec<PathBuf> {
        let folder = self.folder.path().display().to_string();
        let names_folder = |path: &PathBuf| {
            let line = fs::read(path.join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&folder)
        };
        let all = fs::read_dir("/proc").expect("processes").flatten();
        all.map(|entry| entry.path()).filter(names_folder).collect()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // The nodes end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The response of a server, headers included.
pub fn get(server: &str, path: &str) -> String {
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
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    response
}
