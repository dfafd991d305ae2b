//! Ends what tests started, however the tests themselves end: a test that is killed drops
//! nothing, and an engine or a browser would stay behind.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

/// Reads which process groups there are, until this process is gone; then kills those.
const SCRIPT: &str = r#"
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

/// A process group that ends with this value, and with this process.
pub(crate) struct Group {
    leader: Pid,
    /// It has ended by itself: its number may be another's by now.
    over: bool,
}

impl Group {
    /// That of the child that was made its leader.
    ///
    /// # Errors
    /// Where nothing can watch over it.
    pub fn of(leader: u32) -> io::Result<Self> {
        let leader = i32::try_from(leader).ok().and_then(Pid::from_raw);
        let leader = leader.ok_or(io::ErrorKind::InvalidInput)?;
        let group = Self {
            leader,
            over: false,
        };
        tell('+', leader)?;
        Ok(group)
    }

    /// Ends all of it, at once.
    pub fn kill(&self) {
        if !self.over {
            // It may have just ended.
            let _ = kill_process_group(self.leader, Signal::KILL);
        }
    }

    /// Its leader has ended and was waited for.
    pub fn forget(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            let _ = tell('-', self.leader);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        self.forget();
    }
}

fn tell(sign: char, group: Pid) -> io::Result<()> {
    static REAPER: OnceLock<Mutex<Option<ChildStdin>>> = OnceLock::new();
    let reaper = REAPER.get_or_init(Mutex::default);
    let mut reaper = reaper.lock().unwrap_or_else(PoisonError::into_inner);
    let pipe = match &mut *reaper {
        Some(pipe) => pipe,
        none => none.insert(start()?),
    };
    writeln!(pipe, "{sign} {}", group.as_raw_nonzero())
}

fn start() -> io::Result<ChildStdin> {
    let mut shell = Command::new("sh")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C at the terminal is for the tests alone: then this one has work to do.
        .process_group(0)
        .spawn()?;
    shell.stdin.take().ok_or(io::ErrorKind::BrokenPipe.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn the_script_kills_the_groups_that_are_left_when_its_input_ends() {
        let sleep = || {
            let mut sleep = Command::new("sleep");
            sleep.arg("60").process_group(0).spawn().unwrap()
        };
        let (mut forgotten, mut left) = (sleep(), sleep());
        let mut pipe = start().unwrap();
        for order in [("+", &forgotten), ("+", &left), ("-", &forgotten)] {
            writeln!(pipe, "{} {}", order.0, order.1.id()).unwrap();
        }
        drop(pipe);
        assert_eq!(left.wait().unwrap().signal(), Some(9));
        assert!(forgotten.try_wait().unwrap().is_none());
        forgotten.kill().unwrap();
        forgotten.wait().unwrap();
    }
}
