//! Builds the test programs of the workspace, and runs several at a time. `cargo test` runs one
//! after the other, and most of them wait for servers, clocks and nodes: on two cores that takes
//! more than twice as long.
//!
//! `cargo nextest` would run each test in a process of its own, and so start the servers that the
//! tests of a program share once for each test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::shell::{self, Workspace};

/// How many run at a time: as many as there are processors, but within this range. Each starts
/// servers and nodes of its own, and mostly waits for them, so one processor is enough for two.
const AT_A_TIME: std::ops::RangeInclusive<usize> = 2..=4;

/// How many seconds each program took the last time, in the target folder. The longest start first.
const DURATIONS: &str = "test-durations.json";

/// A test program that cargo has built.
#[derive(Debug, PartialEq)]
struct TestProgram {
    /// Package and target, such as `hotswap-tests live`.
    name: String,
    path: PathBuf,
    /// The folder of its package, in which cargo runs it.
    folder: PathBuf,
}

type Durations = BTreeMap<String, u64>;

/// Runs all tests of the workspace, those in documentation last.
///
/// # Errors
/// If one does not build, or fails. All of them run first.
pub fn run(workspace: &Workspace) -> Result<()> {
    let build = ["test", "--workspace", "--no-run"];
    let json = "--message-format=json-render-diagnostics";
    let messages = shell::read_stdout(workspace.cargo(&build).arg(json))?;
    let mut programs = read_programs(&String::from_utf8_lossy(&messages));
    remove_outdated(&programs)?;
    let durations_path = durations_path(&programs);
    let mut durations = durations_path
        .as_deref()
        .map_or_else(Durations::new, read_durations);
    // One that never ran may be long.
    let expected =
        |program: &TestProgram| durations.get(&program.name).copied().unwrap_or(u64::MAX);
    programs.sort_by_key(expected);

    let started = Instant::now();
    let count = programs.len();
    let (waiting, failed) = (Mutex::new(programs), Mutex::new(Vec::new()));
    let took = Mutex::new(Durations::new());
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..processors.clamp(*AT_A_TIME.start(), *AT_A_TIME.end()) {
            scope.spawn(|| {
                while let Some(program) = lock(&waiting).pop() {
                    let begun = Instant::now();
                    let result = run_program(workspace, &program);
                    let elapsed = begun.elapsed();
                    if !report(&program, &result, elapsed) {
                        lock(&failed).push(program.name.clone());
                    }
                    lock(&took).insert(program.name, elapsed.as_secs());
                }
            });
        }
    });
    println!(
        "{count} test programs took {} s",
        started.elapsed().as_secs()
    );
    if let Some(path) = durations_path {
        durations.append(&mut lock(&took));
        fs::write(path, serde_json::to_vec_pretty(&durations)?)
            .context("cannot note how long the tests took")?;
    }

    let documentation = shell::run(&mut workspace.cargo(&["test", "--workspace", "--doc"]));
    let failed = lock(&failed);
    if !failed.is_empty() {
        bail!("these test programs failed: {}", failed.join(", "));
    }
    documentation
}

/// The test programs among the messages of cargo, which are JSON, one a line.
fn read_programs(messages: &str) -> Vec<TestProgram> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    messages
        .filter_map(|message: Value| {
            let is_test = message["profile"]["test"] == true;
            let path = message["executable"].as_str().filter(|_| is_test)?;
            let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
            let package = folder.file_name()?.to_string_lossy();
            Some(TestProgram {
                name: format!("{package} {}", message["target"]["name"].as_str()?),
                path: path.into(),
                folder: folder.into(),
            })
        })
        .collect()
}

/// Removes programs of earlier builds that this build has replaced under other names. Cargo never
/// removes them, and each has some 190 MB.
fn remove_outdated(programs: &[TestProgram]) -> Result<()> {
    let folders: BTreeSet<_> = programs.iter().filter_map(|it| it.path.parent()).collect();
    for folder in folders {
        let entries =
            fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            if is_outdated(&path, programs) {
                fs::remove_file(&path)
                    .with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// Whether a file has the name of a test program with another hash: `live-…` without an extension.
fn is_outdated(path: &Path, programs: &[TestProgram]) -> bool {
    let is_current = programs.iter().any(|program| program.path == path);
    let target = target_name(path);
    !is_current && target.is_some() && programs.iter().any(|it| target_name(&it.path) == target)
}

/// The part of a program's file name before the hash that cargo adds.
fn target_name(path: &Path) -> Option<&str> {
    let (target, hash) = path.file_name()?.to_str()?.rsplit_once('-')?;
    let is_hash = hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then_some(target)
}

/// Programs lie in `deps` of a profile's folder of the target folder.
fn durations_path(programs: &[TestProgram]) -> Option<PathBuf> {
    let profile = programs.first()?.path.parent()?.parent()?;
    Some(profile.join(DURATIONS))
}

/// Empty where there are none yet, or nobody can read them: they only order the programs.
fn read_durations(path: &Path) -> Durations {
    let bytes = fs::read(path).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Runs a program as cargo does.
fn run_program(workspace: &Workspace, program: &TestProgram) -> Result<Output> {
    let mut command: Command = workspace.command(&program.path);
    command
        .current_dir(&program.folder)
        .env("CARGO", workspace.cargo_path())
        .env("CARGO_MANIFEST_DIR", &program.folder)
        .stdin(Stdio::null());
    command
        .output()
        .with_context(|| format!("cannot run {}", program.path.display()))
}

/// Prints what a program wrote, in one piece. Returns whether its tests passed.
fn report(program: &TestProgram, result: &Result<Output>, elapsed: Duration) -> bool {
    static PRINTING: Mutex<()> = Mutex::new(());
    let _printing = lock(&PRINTING);
    println!("\n     Running {} ({} s)", program.name, elapsed.as_secs());
    match result {
        Ok(output) => {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            print!("{}", String::from_utf8_lossy(&output.stderr));
            if !output.status.success() {
                println!("error: {} failed: {}", program.name, output.status);
            }
            output.status.success()
        }
        Err(error) => {
            println!("error: {error:#}");
            false
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_found_among_the_messages_of_cargo() {
        let messages = r#"
{"reason":"compiler-artifact","manifest_path":"/w/node/Cargo.toml","target":{"name":"protocol"},"profile":{"test":true},"executable":"/w/target/debug/deps/protocol-1"}
{"reason":"compiler-artifact","manifest_path":"/w/cli/Cargo.toml","target":{"name":"hotswap"},"profile":{"test":false},"executable":"/w/target/debug/hotswap"}
{"reason":"compiler-artifact","manifest_path":"/w/cli/Cargo.toml","target":{"name":"hotswap"},"profile":{"test":true},"executable":null}
{"reason":"build-finished","success":true}
"#;
        let programs = read_programs(messages);
        let expected = TestProgram {
            name: "node protocol".into(),
            path: "/w/target/debug/deps/protocol-1".into(),
            folder: "/w/node".into(),
        };
        assert_eq!(programs, [expected]);
        let durations = durations_path(&programs);
        assert_eq!(
            durations.as_deref(),
            Some(Path::new("/w/target/debug/test-durations.json"))
        );
    }

    #[test]
    fn programs_of_earlier_builds_are_removed_and_nothing_else() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let files = [
            "live-0123456789abcdef",
            "live-fedcba9876543210",
            "live-fedcba9876543210.d",
            "other-fedcba9876543210",
            "liblive-fedcba9876543210.rlib",
            "live-test",
        ];
        for file in files {
            fs::write(folder.path().join(file), "")?;
        }
        let current = TestProgram {
            name: "tests live".into(),
            path: folder.path().join(files[0]),
            folder: folder.path().into(),
        };
        remove_outdated(&[current])?;
        for file in files {
            let is_left = folder.path().join(file).exists();
            assert_eq!(is_left, file != files[1], "{file}");
        }
        Ok(())
    }
}
