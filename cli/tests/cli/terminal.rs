//! A wait at a terminal, as a person starts it.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc;

use rustix::process::{Pid, Signal, kill_process};

use crate::server::Fleet;
use crate::support::{Outcome, hotswap, signal, wait_for};

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";

/// The program at a terminal of its own, which `script` provides.
struct Terminal {
    script: Child,
    screen: mpsc::Receiver<String>,
    text: String,
}

impl Terminal {
    /// Runs a client command of the fleet.
    fn start(fleet: &Fleet, args: &[&str], ci: bool) -> Self {
        let program = env!("CARGO_BIN_EXE_hotswap");
        let command = format!("exec '{program}' {}", args.join(" "));
        // Takes the environment from there.
        let prepared = hotswap(fleet.folder.path(), &[]);
        let mut script = std::process::Command::new("script");
        script
            .args([
                "--quiet",
                "--flush",
                "--return",
                "--command",
                &command,
                "/dev/null",
            ])
            .current_dir(fleet.folder.path())
            .env("HOTSWAP_SERVER", &fleet.server)
            .env("TERM", "xterm-256color")
            .env_remove("CI")
            .env_remove("HOTSWAP_TOKEN");
        for (name, value) in prepared
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?)))
        {
            script.env(name, value);
        }
        if ci {
            script.env("CI", "true");
        }
        // An open standard input: at its end, `script` would end too.
        let mut script = script
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`script`, of util-linux");
        let mut out = script.stdout.take().unwrap();
        let (sender, screen) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = out.read(&mut bytes) {
                let _ = sender.send(String::from_utf8_lossy(&bytes[..length]).into_owned());
            }
        });
        Self {
            script,
            screen,
            text: String::new(),
        }
    }

    /// Waits until the screen has shown this.
    fn wait_for(&mut self, word: &str) {
        while !self.text.contains(word) {
            let more = self.screen.recv();
            self.text += &more.unwrap_or_else(|_| panic!("no {word:?}: {:?}", self.text));
        }
    }

    /// Sends a signal to the program.
    fn signal(&self, signal: Signal) {
        let parent = format!("PPid:\t{}\n", self.script.id());
        let is_child = |path: &PathBuf| {
            fs::read_to_string(path.join("status")).is_ok_and(|status| status.contains(&parent))
        };
        let mut processes = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .map(|entry| entry.path());
        let program = processes.find(is_child).expect("the program runs");
        let pid = program
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// The exit code, and all that the screen has shown.
    fn wait(mut self) -> (Option<i32>, String) {
        let script = &mut self.script;
        let status = wait_for("the program ends", || script.try_wait().unwrap());
        while let Ok(more) = self.screen.recv() {
            self.text += &more;
        }
        (status.code(), self.text.clone())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

#[test]
fn a_signal_leaves_the_terminal_tidy_and_tells_how_to_go_on() {
    let fleet = Fleet::start();
    let id = fleet.start_slow("slow");
    let watch = ["--token-file", "engine/token", "watch", &id];
    for (sent, code, reason) in [
        (Signal::INT, 130, "interrupted"),
        (Signal::TERM, 143, "terminated"),
    ] {
        let mut terminal = Terminal::start(&fleet, &watch, false);
        terminal.wait_for("slow 1.0.0");
        terminal.signal(sent);
        let (exit_code, screen) = terminal.wait();
        assert_eq!(exit_code, Some(code), "{screen:?}");
        let (before, after) = screen.rsplit_once(SHOW_CURSOR).unwrap();
        assert!(
            before.contains(HIDE_CURSOR) && !after.contains(HIDE_CURSOR),
            "{screen:?}"
        );
        assert!(after.ends_with("\r\n"), "no line is left half: {screen:?}");
        let told = format!("{reason}; the deployment continues\r\n");
        let next = format!("  next: hotswap watch {id}, or hotswap abort {id}\r\n");
        assert!(after.ends_with(&(told + &next)), "{screen:?}");
    }
    assert_eq!(fleet.json(&["get", &id])["status"], "running");
}

#[test]
fn at_a_terminal_of_a_ci_job_nobody_looks_on() {
    let fleet = Fleet::start();
    fleet.upload("gated");
    let deploy = ["deploy", "gated", "-e", "qa", "--require-approval"];
    let id = fleet.json(&deploy)["executionId"]
        .as_str()
        .unwrap()
        .to_owned();
    let watch = ["--token-file", "engine/token", "watch", &id];
    let (code, screen) = Terminal::start(&fleet, &watch, true).wait();
    assert_eq!(code, Some(5), "{screen:?}");
    assert!(!screen.contains(HIDE_CURSOR), "{screen:?}");
    // A person sees the question, and the wait goes on.
    let mut terminal = Terminal::start(&fleet, &watch, false);
    terminal.wait_for("YOUR DECISION");
    fleet.json(&["approve", &id]);
    let (code, screen) = terminal.wait();
    assert_eq!(code, Some(0), "{screen:?}");
}

#[test]
fn a_signal_during_a_request_says_that_it_may_have_been_done() {
    let folder = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", silent.local_addr().unwrap());
    for (sent, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        for command in [
            &["deploy", "hello", "-e", "qa", "--wait"][..],
            &["pause", "01890a5d-ac96-774b-bcce-b302099a8057"],
            &["list"],
        ] {
            let args = [&["--server", &server, "--json"], command].concat();
            let child = hotswap(folder.path(), &args)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let (mut connection, _) = silent.accept().unwrap();
            connection.read_exact(&mut [0; 16]).unwrap();
            signal(&child, sent);
            let outcome: Outcome = child.wait_with_output().unwrap().into();
            assert_eq!(outcome.code, Some(code), "{outcome:?}");
            let report = outcome.report();
            let message = report["error"]["message"].as_str().unwrap();
            assert!(message.contains("may have done"), "{report}");
        }
    }
}
