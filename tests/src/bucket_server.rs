use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hotswap_common::{Secret, free_ports};
use hotswap_store::BucketConfig;
use hotswap_store::bucket::Keys;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::authority::Authority;
use crate::child_process::ChildProcess;
use crate::go_program::VERSITYGW;

/// How long the server may take to answer. Generous, because the machine may be busy.
const START_TIMEOUT: Duration = Duration::from_secs(60);

const ACCESS_KEY_ID: &str = "key-of-the-tests";
const SECRET_KEY: &str = "secret-key-of-the-tests";

/// A real server with the interface of Amazon S3: the Versity gateway, which keeps objects as files.
/// It has one bucket. It is killed when this is dropped.
pub struct BucketServer {
    port: u16,
    is_tls: bool,
    // Declared before the folder: fields drop in order.
    process: Option<ChildProcess>,
    folder: TempDir,
}

impl BucketServer {
    /// The name of its bucket.
    pub const BUCKET: &str = "artifacts";

    /// Starts a server, and waits until it takes connections.
    ///
    /// # Errors
    /// If the program is not installed, or does not start in time.
    pub async fn start() -> Result<Self> {
        Self::start_with(None).await
    }

    /// Starts a server that speaks HTTPS, with a certificate of this authority.
    ///
    /// # Errors
    /// If the program is not installed, or does not start in time.
    pub async fn start_over_https(authority: &Authority) -> Result<Self> {
        Self::start_with(Some(authority)).await
    }

    async fn start_with(authority: Option<&Authority>) -> Result<Self> {
        let folder = TempDir::new()?;
        std::fs::create_dir_all(folder.path().join("objects").join(Self::BUCKET))?;
        std::fs::write(folder.path().join("secret-key"), SECRET_KEY)?;
        if let Some(authority) = authority {
            authority.issue(folder.path(), "server", "localhost")?;
        }
        let mut server = Self {
            port: *free_ports(1)?.first().context("no port")?,
            is_tls: authority.is_some(),
            process: None,
            folder,
        };
        server.restart().await?;
        Ok(server)
    }

    /// Kills it.
    ///
    /// # Errors
    /// If it is down, or is not gone in time.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.take().context("it is down")?.kill().await
    }

    /// Starts it again on the same port and data, and waits until it takes connections.
    ///
    /// # Errors
    /// If it does not start in time.
    pub async fn restart(&mut self) -> Result<()> {
        let mut command = Command::new(VERSITYGW.cached()?);
        command
            .args(["--access", ACCESS_KEY_ID, "--secret", SECRET_KEY])
            .args(["--port", &format!("127.0.0.1:{}", self.port)])
            .arg("--quiet");
        if self.is_tls {
            command
                .arg("--cert")
                .arg(self.file("server.crt"))
                .arg("--key")
                .arg(self.file("server.key"));
        }
        command.arg("posix").arg(self.file("objects"));
        let process = ChildProcess::start(command);
        self.process = Some(process.context("run `cargo xtask setup --tests`")?);
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if Instant::now() > deadline {
                let process = self.process.as_ref().map(ToString::to_string);
                bail!("it does not answer: {}", process.unwrap_or_default());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// How its bucket is reached. Objects get this prefix.
    pub fn config(&self, prefix: &str) -> BucketConfig {
        BucketConfig {
            name: Self::BUCKET.to_owned(),
            prefix: prefix.to_owned(),
            endpoint: Some(self.url()),
            region: None,
            keys: Some(Keys {
                access_key_id: ACCESS_KEY_ID.to_owned(),
                secret_key: Secret::new(SECRET_KEY),
            }),
            ca_file: None,
        }
    }

    /// The same as a part of an engine's configuration.
    pub fn artifacts(&self) -> String {
        format!(
            "[artifacts]\nbucket = {:?}\nendpoint = {:?}\naccessKeyId = {ACCESS_KEY_ID:?}\n\
             secretKeyFile = {:?}\n",
            Self::BUCKET,
            self.url(),
            self.file("secret-key"),
        )
    }

    /// The names of all objects, sorted.
    ///
    /// # Errors
    /// If their folder cannot be read.
    pub fn objects(&self) -> Result<Vec<String>> {
        let bucket = self.file("objects").join(Self::BUCKET);
        let mut names = Vec::new();
        collect_files(&bucket, &bucket, &mut names)?;
        // Where it keeps the parts of uploads.
        names.retain(|name| !name.starts_with(".sgwtmp/"));
        names.sort();
        Ok(names)
    }

    /// The number of files that belong to uploads which have not ended.
    ///
    /// # Errors
    /// If their folder cannot be read.
    pub fn parts(&self) -> Result<usize> {
        let parts = self.file("objects").join(Self::BUCKET).join(".sgwtmp");
        let mut names = Vec::new();
        if parts.exists() {
            collect_files(&parts, &parts, &mut names)?;
        }
        Ok(names.len())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn collect_files(folder: &Path, root: &Path, names: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect_files(&path, root, names)?;
        } else {
            names.push(path.strip_prefix(root)?.to_string_lossy().into_owned());
        }
    }
    Ok(())
}
