//! Every input of the command line, with every kind of absurd value.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::server::Fleet;
use crate::support::{hotswap, run, signal};

/// Far more than any refusal takes, and less than a wait would last.
const TIMEOUT: Duration = Duration::from_secs(60);

/// More than any error has that quotes only the start of a value, in bytes.
const MAX_ERRORS: usize = 4000;

/// The codes of the reference, without those of signals.
const EXIT_CODES: std::ops::RangeInclusive<i32> = 0..=9;

/// Stands for several commands.
const OPTIONS_OF_ALL: &str = "options of all commands";

/// What servers log once they have started, with which they accepted the value.
const STARTED: [&str; 4] = [
    "engine ready",
    "node started",
    "starting an engine and six nodes",
    "panicked",
];

/// An input of a command, as the reference lists it.
#[derive(Debug)]
struct Input {
    command: String,
    /// `--timeout`, or `<ID>` where the position names it.
    name: String,
}

/// Every input that takes a value.
fn inputs(reference: &str) -> Vec<Input> {
    let mut inputs = Vec::new();
    let mut command = String::new();
    for line in reference.lines() {
        if let Some(title) = line.trim_start_matches('#').strip_prefix(" `hotswap ") {
            command = title.trim_end_matches('`').to_owned();
        } else if line.starts_with("## Options of all commands") {
            command = OPTIONS_OF_ALL.to_owned();
        } else if line.starts_with("## ") {
            command.clear();
        }
        let cell = line
            .strip_prefix("| `")
            .and_then(|rest| rest.split('`').next());
        // Without a `<VALUE>`, the option takes none.
        let Some(cell) = cell.filter(|cell| cell.contains('<') && !command.is_empty()) else {
            continue;
        };
        let mut words = cell.split([' ', ',']).filter(|word| !word.is_empty());
        let name = words.find(|word| word.starts_with("--") || word.starts_with('<'));
        let name = name.unwrap().to_owned();
        let commands = match &*command {
            OPTIONS_OF_ALL => vec!["deployment list".to_owned(), "deployment pause".to_owned()],
            _ => vec![command.clone()],
        };
        inputs.extend(commands.into_iter().map(|command| Input {
            command,
            name: name.clone(),
        }));
    }
    inputs.sort_by(|a, b| a.command.cmp(&b.command));
    inputs
}

/// Arguments with which a command runs, each with the name of its input.
fn valid_arguments(command: &str, id: &str) -> Vec<(&'static str, String)> {
    let owned = |arguments: &[(&'static str, &str)]| {
        let owned = arguments
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        owned.collect::<Vec<_>>()
    };
    match command {
        "dev" => owned(&[("--port", "0")]),
        "serve" => owned(&[("--listen", "127.0.0.1:0"), ("--data-dir", "second")]),
        "node run" => owned(&[
            ("--environment", "qa"),
            ("--id", "n3"),
            ("--data", "127.0.0.1:0"),
            ("--control", "127.0.0.1:0"),
            ("--data-dir", "n3"),
            ("--token-file", "engine/node-token"),
        ]),
        "node get" => owned(&[("<ID>", "n1")]),
        // It is not registered: the others need the nodes that are.
        "node delete" | "node cordon" | "node uncordon" => owned(&[("<ID>", "gone")]),
        "node drain" => owned(&[("<ID>", "gone"), ("--wait", "")]),
        "deployment create" => owned(&[("<MODULE[@VERSION]>", "hello"), ("--environment", "qa")]),
        "deployment list" | "node list" | "module list" | "strategy list" | "environment list"
        | "discovery backends" | "store check" | "token" => Vec::new(),
        "store export" | "store import" => owned(&[("<FILE>", "archive")]),
        "deployment events" => owned(&[("<ID>", id), ("--follow", "")]),
        command if command.starts_with("deployment ") => owned(&[("<ID>", id)]),
        "module upload" => owned(&[("<MODULE@VERSION>", "new@1.0.0"), ("<FILE>", "hello.wasm")]),
        "module get" => owned(&[("<MODULE[@VERSION]>", "hello")]),
        "strategy upload" => owned(&[("<FILE>", "hello.wasm")]),
        "strategy get" | "strategy delete" => owned(&[("<NAME>", "canary")]),
        "discovery upload" => owned(&[("<FILE>", "hello.wasm")]),
        "discovery delete" => owned(&[("<NAME>", "mine")]),
        "discovery get" | "discovery check" => owned(&[("<NAME>", "built-in")]),
        "module history" | "module undo" => {
            owned(&[("<MODULE>", "hello"), ("--environment", "qa")])
        }
        "module retire" => owned(&[("<MODULE>", "hello"), ("--environment", "qa")]),
        "apply" => owned(&[("--file", "policies.toml"), ("--dry-run", "")]),
        "environment get" | "environment events" => owned(&[("<ENV>", "qa")]),
        "context add" => owned(&[("<NAME>", "mine"), ("--replace", "")]),
        "debug bundle" => owned(&[("--node", "n1"), ("--output", "report.tar.gz")]),
        "context list" => Vec::new(),
        "context use" | "context delete" => owned(&[("<NAME>", "gone")]),
        "completions" => owned(&[("<SHELL>", "bash")]),
        other => panic!("add valid arguments of `hotswap {other}`"),
    }
}

/// Absurd values of every kind: as numbers, as spans, as settings and as names.
fn values() -> Vec<String> {
    let long = 60_000;
    let mut values: Vec<_> = [
        "0",
        "1",
        "-1",
        "255",
        "65535",
        "65536",
        "4294967295",
        "4294967296",
        "18446744073709551615",
        "18446744073709551616",
        "",
        " ",
        "ü",
        "名前",
        "\u{202e}",
        "a\nb",
        "0s",
        "1ms",
        "-1s",
        "1year",
        "366days",
        "500000000000y",
        "18446744073709551615s",
        "ü=ü",
        "=",
        "a=",
        "hello@",
        "hello@1.0.0",
        "hello@18446744073709551616.0.0",
        "a/../b",
        "0.0.0.0:65536",
        "127.0.0.1:0",
        "/dev/zero",
        "/dev/null",
        ".",
        "http://[::1",
    ]
    .map(str::to_owned)
    .to_vec();
    values.extend([
        "a".repeat(long),
        "ü".repeat(long / 2),
        "9".repeat(long),
        format!("hello@1.0.0-{}", "a".repeat(long)),
        format!("{}a=1", "a.".repeat(long / 2)),
        format!("a={}1{}", "[".repeat(long / 2), "]".repeat(long / 2)),
        format!("http://{}/", "a".repeat(long)),
    ]);
    values
}

/// The command line that gives `value` to the input, and valid values to all others.
fn arguments(input: &Input, value: &str, id: &str) -> Vec<String> {
    let mut options = Vec::new();
    let mut positions = Vec::new();
    let mut add = |name: &str, value: &str| match name {
        "--follow" | "--wait" => options.push(name.to_owned()),
        name if name.starts_with("--") => options.push(format!("{name}={value}")),
        _ => positions.push(value.to_owned()),
    };
    let valid = valid_arguments(&input.command, id);
    for (name, valid) in &valid {
        add(name, if *name == input.name { value } else { valid });
    }
    if !valid.iter().any(|(name, _)| *name == input.name) {
        add(&input.name, value);
    }
    let waits =
        input.command.starts_with("deployment") && matches!(&*input.name, "--timeout" | "--after");
    if waits && input.command == "deployment create" {
        options.push("--wait".to_owned());
    }
    let words = input.command.split(' ').map(str::to_owned);
    // After `--`, a value such as -1 is no option.
    words
        .chain(options)
        .chain(["--".to_owned()])
        .chain(positions)
        .collect()
}

/// Runs the program until it ends or, as a server, has started. Returns its exit code and its
/// standard error.
fn run_until_decided(mut child: Child, what: &str) -> (Option<i32>, String) {
    let (sender, errors) = mpsc::channel();
    let mut pipe = BufReader::new(child.stderr.take().unwrap());
    thread::spawn(move || {
        let mut line = String::new();
        while pipe
            .by_ref()
            .read_line(&mut line)
            .is_ok_and(|length| length > 0)
        {
            let _ = sender.send(std::mem::take(&mut line));
        }
    });
    let start = Instant::now();
    let mut text = String::new();
    let mut is_stopped = false;
    // The channel closes when the process has ended, with its children.
    loop {
        match errors.recv_timeout(TIMEOUT.saturating_sub(start.elapsed())) {
            Ok(line) => text += &line,
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                return (None, format!("{what} hangs: {text}"));
            }
        }
        if !is_stopped && STARTED.iter().any(|started| text.contains(started)) {
            is_stopped = true;
            signal(&child, Signal::TERM);
        }
    }
    (child.wait().unwrap().code(), text)
}

/// What a client command needs.
struct Client<'a> {
    folder: &'a Path,
    server: &'a str,
    token: &'a str,
    /// The deployment that commands are about.
    id: &'a str,
}

impl Client<'_> {
    /// Gives each value to the input. Returns what was unclear.
    fn try_values(&self, input: &Input) -> Vec<String> {
        let values = values();
        let results = values
            .iter()
            .filter_map(|value| self.try_value(input, value));
        results.collect()
    }

    fn try_value(&self, input: &Input, value: &str) -> Option<String> {
        let shown: String = value.chars().take(40).collect();
        let what = format!("hotswap {} {} '{shown}'", input.command, input.name);
        let arguments = arguments(input, value, self.id);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let mut command = hotswap(self.folder, &arguments);
        if !matches!(&*input.command, "serve" | "node run" | "dev" | "token") {
            command.env("HOTSWAP_SERVER", self.server);
            command.env("HOTSWAP_TOKEN", self.token);
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let (code, errors) = run_until_decided(child.unwrap(), &what);
        let is_clear = match code {
            Some(0) => true,
            Some(code) => EXIT_CODES.contains(&code) && !errors.trim().is_empty(),
            // A signal ended it.
            None => false,
        };
        if is_clear && !errors.contains("panicked") && errors.len() <= MAX_ERRORS {
            return None;
        }
        let start: String = errors.chars().take(500).collect();
        Some(format!("{what}: {code:?}, {} bytes: {start}", errors.len()))
    }
}

#[test]
fn every_input_with_absurd_values_is_refused_clearly_or_accepted() {
    let fleet = Fleet::start();
    let path = fleet.folder.path();
    fleet.upload("hello");
    std::fs::write(path.join("policies.toml"), "[environments.qa]\n").unwrap();
    let deployment = fleet.json(&["deploy", "hello", "-e", "qa", "--wait"]);
    let id = deployment["executionId"].as_str().unwrap();
    let inputs = inputs(&run(path, &["reference", "cli"]).out);
    for expected in [
        "--timeout",
        "--after",
        "--set",
        "<ID>",
        "--rate",
        "--for",
        "--expires",
    ] {
        let is_listed = inputs.iter().any(|input| input.name == expected);
        assert!(is_listed, "{expected} is not among {inputs:?}");
    }
    let token = std::fs::read_to_string(path.join("engine/token")).unwrap();
    let client = Client {
        folder: path,
        server: &fleet.server,
        token: token.trim(),
        id,
    };
    // One command at a time, because its processes share a data folder.
    let by_command = inputs.chunk_by(|a, b| a.command == b.command);
    let queue = Mutex::new(by_command);
    let unclear: Vec<String> = thread::scope(|scope| {
        let work = || {
            let mut unclear = Vec::new();
            while let Some(inputs) = { queue.lock().unwrap().next() } {
                unclear.extend(inputs.iter().flat_map(|input| client.try_values(input)));
            }
            unclear
        };
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        let results = workers.into_iter().map(|worker| worker.join().unwrap());
        results.flatten().collect()
    });
    assert!(unclear.is_empty(), "{}", unclear.join("\n"));
}
