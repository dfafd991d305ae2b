//! A Redis beside the cluster.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::release;

const PORT: u16 = 6399;
const TIMEOUT: Duration = Duration::from_secs(30);

/// A durable Redis in the network of the node, where pods reach it.
pub struct Redis {
    addr: SocketAddr,
    _folder: TempDir,
}

impl Redis {
    /// Starts it.
    ///
    /// # Errors
    /// If it does not listen in time.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = release::node_address()?;
        let addr = SocketAddr::new(address.parse()?, PORT);
        let mut redis = Command::new(release::kubernetes()?.join("inside"));
        redis.args(["redis-server", "--bind", &address]);
        redis.args(["--port", &PORT.to_string(), "--protected-mode", "no"]);
        redis.args(["--appendonly", "yes", "--appendfsync", "always"]);
        redis.arg("--dir").arg(folder.path());
        redis.stdin(Stdio::null()).stdout(Stdio::null());
        let mut redis = redis.spawn()?;
        let deadline = Instant::now() + TIMEOUT;
        while TcpStream::connect(addr).is_err() {
            ensure!(redis.try_wait()?.is_none(), "redis-server has ended");
            ensure!(Instant::now() < deadline, "redis-server does not listen");
            sleep(Duration::from_millis(50));
        }
        Ok(Self {
            addr,
            _folder: folder,
        })
    }

    /// The pod of the engine that drives a deployment.
    ///
    /// # Errors
    /// If the server does not answer.
    pub fn driver_of(&self, deployment: &str) -> Result<Option<String>> {
        let key = format!("{{hotswap}}:d:{deployment}");
        let session = self.field(&key, "owner")?;
        let Some(session) = session.filter(|session| !session.is_empty()) else {
            return Ok(None);
        };
        let engine = self.field("{hotswap}:engines", &session)?;
        // An engine has the name of its machine, which is that of its pod, and its process id.
        let pod = engine.as_deref().and_then(|name| name.rsplit_once('-'));
        Ok(pod.map(|(pod, _)| pod.to_owned()))
    }

    /// A field of a hash.
    fn field(&self, key: &str, field: &str) -> Result<Option<String>> {
        let mut connection = TcpStream::connect(self.addr)?;
        connection.set_read_timeout(Some(TIMEOUT))?;
        let mut command = "*3\r\n".to_owned();
        for word in ["HGET", key, field] {
            command += &format!("${}\r\n{word}\r\n", word.len());
        }
        connection.write_all(command.as_bytes())?;
        // Whoever says goodbye gets the answer whole, and the end.
        connection.write_all(b"QUIT\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        let mut lines = answer.lines();
        let head = lines.next().unwrap_or_default();
        ensure!(head.starts_with('$'), "{answer}");
        Ok(lines.next().filter(|_| head != "$-1").map(str::to_owned))
    }

    /// Where pods reach it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // The process is one of the node's: a signal to what started it would not reach it.
        if let Ok(mut connection) = TcpStream::connect(self.addr) {
            let _ = connection.write_all(b"SHUTDOWN NOSAVE\r\n");
        }
    }
}
