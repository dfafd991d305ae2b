//! Kills the processes of tests, however the tests themselves end. A test that is killed runs
//! no destructor, and its engine or browser would go on running.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

/// Keeps the set of registered process groups: reads `+ group` and `- group`. Its input ends
/// when the test process is gone; then it kills the groups that are left.
const REAPER_SCRIPT: &str = r#"
groups=
while read -r sign group; do
    others=
    for one in $groups; do
        [ "$one" = "$group" ] || others="$others $one"
    done
    groups=$others
    [ "$sign" = + ] && groups="$groups $group"
done
for group in $groups; do
    kill -KILL "-$group"
done
"#;

/// A process group that is killed when this value is dropped, or this process ends.
pub(crate) struct ProcessGroup {
    leader: Pid,
    /// Whether the leader has exited. Its number may belong to another process by now.
    exited: bool,
}

impl ProcessGroup {
    /// Registers the group of a child process that was started as its leader.
    ///
    /// # Errors
    /// If the reaper cannot be started.
    pub fn register(leader: u32) -> io::Result<Self> {
        let leader = i32::try_from(leader).ok().and_then(Pid::from_raw);
        let leader = leader.ok_or(io::ErrorKind::InvalidInput)?;
        let group = Self {
            leader,
            exited: false,
        };
        send_to_reaper('+', leader)?;
        Ok(group)
    }

    /// Kills all processes of the group.
    pub fn kill(&self) {
        if !self.exited {
            // Fails if the group has just exited.
            let _ = kill_process_group(self.leader, Signal::KILL);
        }
    }

    /// Sends a signal to all processes of the group.
    ///
    /// # Errors
    /// If the group has exited.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process_group(self.leader, signal)?)
    }

    /// Call it once the leader has exited and was waited for.
    pub fn unregister(&mut self) {
        if !std::mem::replace(&mut self.exited, true) {
            let _ = send_to_reaper('-', self.leader);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
        self.unregister();
    }
}

fn send_to_reaper(sign: char, group: Pid) -> io::Result<()> {
    static REAPER: OnceLock<Mutex<Option<ChildStdin>>> = OnceLock::new();
    let reaper = REAPER.get_or_init(Mutex::default);
    let mut reaper = reaper.lock().unwrap_or_else(PoisonError::into_inner);
    let pipe = match &mut *reaper {
        Some(pipe) => pipe,
        none => none.insert(start_reaper()?),
    };
    writeln!(pipe, "{sign} {}", group.as_raw_nonzero())
}

fn start_reaper() -> io::Result<ChildStdin> {
    let mut shell = Command::new("sh")
        .args(["-c", REAPER_SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C at the terminal must end only the tests: the reaper still has to clean up.
        .process_group(0)
        .spawn()?;
    shell.stdin.take().ok_or(io::ErrorKind::BrokenPipe.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn the_reaper_kills_registered_groups_when_its_input_ends() {
        let start_sleep = || {
            let mut sleep = Command::new("sleep");
            sleep.arg("60").process_group(0).spawn().unwrap()
        };
        let (mut unregistered, mut registered) = (start_sleep(), start_sleep());
        let mut pipe = start_reaper().unwrap();
        for (sign, process) in [
            ("+", &unregistered),
            ("+", &registered),
            ("-", &unregistered),
        ] {
            writeln!(pipe, "{sign} {}", process.id()).unwrap();
        }
        drop(pipe);
        assert_eq!(registered.wait().unwrap().signal(), Some(9));
        assert!(unregistered.try_wait().unwrap().is_none());
        unregistered.kill().unwrap();
        unregistered.wait().unwrap();
    }
}
