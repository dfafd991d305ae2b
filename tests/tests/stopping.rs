//! How engine and nodes stop: they serve on while they are not ready, tell their clients to go
//! elsewhere, and let requests finish.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::StreamExt as _;
use hotswap_common::tls::{ClientFiles, ClientTls};
use hotswap_tests::{Authority, ChildProcess, Installation, tools};
use http_body_util::Empty;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A connection with HTTP/2, and what becomes of it.
struct Http2 {
    requests: SendRequest<Empty<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
    url: String,
}

impl Http2 {
    async fn open<S>(stream: S, url: &str) -> Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (requests, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        Ok(Self {
            requests,
            connection: tokio::spawn(connection),
            url: url.to_owned(),
        })
    }

    async fn get(&mut self, path: &str) -> Result<StatusCode> {
        let request = Request::get(format!("{}{path}", self.url)).body(Empty::new())?;
        Ok(timeout(TIMEOUT, self.requests.send_request(request))
            .await??
            .status())
    }

    /// Waits until the server has ended the connection, and checks that it did so in order.
    async fn ensure_goaway(self) -> Result<()> {
        timeout(TIMEOUT, self.connection)
            .await
            .context("no GOAWAY")???;
        Ok(())
    }
}

/// An engine with TLS, as a process.
struct Engine {
    process: ChildProcess,
    addr: SocketAddr,
    url: String,
    token: String,
    http: reqwest::Client,
    folder: TempDir,
}

impl Engine {
    async fn start(flags: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let authority = Authority::new()?;
        authority.issue(folder.path(), "engine", "localhost")?;
        let mut command = tools::hotswap()?;
        command
            .current_dir(folder.path())
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "engine"])
            .args(["--tls-cert", "engine.crt", "--tls-key", "engine.key"])
            .args(["--log-format", "json"])
            .args(flags);
        let mut process = ChildProcess::start(command)?;
        let addr = process
            .find_in_stderr(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                let is_ready = line["message"] == "engine ready";
                is_ready.then(|| line["addr"].as_str()?.parse::<SocketAddr>().ok())?
            })
            .await?;
        let token = std::fs::read_to_string(folder.path().join("engine/token"))?;
        Ok(Self {
            process,
            addr,
            url: format!("https://{addr}"),
            token: token.trim().to_owned(),
            http: authority.client(folder.path(), None)?,
            folder,
        })
    }

    /// A connection that speaks one of these protocols.
    async fn connect(&self, protocols: &[&str]) -> Result<TlsStream<TcpStream>> {
        let mut config = ClientTls::open(ClientFiles {
            authorities: Some(trusted(self.folder.path())),
            trusts_system: false,
            ..ClientFiles::default()
        })?
        .config()?;
        let names = protocols.iter().map(|name| name.as_bytes().to_vec());
        config.alpn_protocols = names.collect();
        let stream = TcpStream::connect(self.addr).await?;
        let name = ServerName::from(self.addr.ip());
        let connector = TlsConnector::from(Arc::new(config));
        Ok(connector.connect(name, stream).await?)
    }

    async fn http2(&self) -> Result<Http2> {
        let stream = self.connect(&["h2", "http/1.1"]).await?;
        ensure!(stream.get_ref().1.alpn_protocol() == Some(&b"h2"[..]));
        Http2::open(stream, &self.url).await
    }

    async fn get(&self, path: &str) -> Result<reqwest::Response> {
        let request = self.http.get(format!("{}{path}", self.url));
        Ok(request.bearer_auth(&self.token).send().await?)
    }

    /// Begins to upload a version: the engine has asked for the body, and has half of it.
    async fn begin_upload(&self) -> Result<Upload> {
        let mut stream = self.connect(&["http/1.1"]).await?;
        let component = hotswap_guests::HELLO_V1;
        let head = format!(
            "PUT /api/v1/modules/hello/versions/1.0.0 HTTP/1.1\r\nhost: localhost\r\n\
             authorization: Bearer {}\r\ncontent-type: application/wasm\r\n\
             content-length: {}\r\nexpect: 100-continue\r\n\r\n",
            self.token,
            component.len(),
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let byte = timeout(TIMEOUT, stream.read_u8()).await?;
            answer.push(byte.context("the engine does not ask for the body")?);
        }
        let answer = String::from_utf8_lossy(&answer);
        ensure!(answer.starts_with("HTTP/1.1 100 "), "{answer}");
        let (half, rest) = component.split_at(component.len() / 2);
        stream.write_all(half).await?;
        stream.flush().await?;
        Ok(Upload { stream, rest })
    }

    async fn wait_until_closed(&self) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        while TcpStream::connect(self.addr).await.is_ok() {
            ensure!(Instant::now() < deadline, "the port stays open");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn wait_until_not_ready(&self) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        while self.get("/health/ready").await?.status() != StatusCode::SERVICE_UNAVAILABLE {
            ensure!(Instant::now() < deadline, "it stays ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

/// A request that is under way.
struct Upload {
    stream: TlsStream<TcpStream>,
    rest: &'static [u8],
}

impl Upload {
    /// Sends the rest, and returns what the engine answers.
    async fn finish(mut self) -> Result<String> {
        self.stream.write_all(self.rest).await?;
        self.stream.flush().await?;
        self.answer().await
    }

    /// All that the engine sends until it closes the connection.
    async fn answer(&mut self) -> Result<String> {
        let mut answer = Vec::new();
        timeout(TIMEOUT, self.stream.read_to_end(&mut answer)).await??;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// Where [`Authority::client`] writes the authority.
fn trusted(folder: &Path) -> std::path::PathBuf {
    folder.join("trusted.crt")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_serves_on_while_it_is_not_ready_and_a_second_signal_ends_it() -> Result<()> {
    let engine = Engine::start(&["--lame-duck", "1h"]).await?;
    let mut http2 = engine.http2().await?;
    ensure!(http2.get("/health/ready").await? == StatusCode::OK);
    let answer = engine.get("/health/ready").await?;
    ensure!(answer.headers().get("connection").is_none());
    let events = engine.get("/api/v1/events").await?;
    ensure!(events.status() == StatusCode::OK);

    engine.process.terminate()?;
    engine.wait_until_not_ready().await?;
    http2.ensure_goaway().await?;
    // It serves on, over new connections, each for one request.
    let answer = engine.get("/api/v1/modules").await?;
    ensure!(answer.status() == StatusCode::OK);
    ensure!(
        answer
            .headers()
            .get("connection")
            .is_some_and(|it| it == "close")
    );
    let mut late = engine.http2().await?;
    ensure!(late.get("/health/live").await? == StatusCode::OK);
    late.ensure_goaway().await?;

    engine.process.terminate()?;
    let exit = engine.process.wait_for_exit().await?;
    ensure!(exit.code == Some(0), "{exit:?}");
    drop(events);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_an_engine_that_stops_end_in_order() -> Result<()> {
    let engine = Engine::start(&["--lame-duck", "1s", "--drain", "30s"]).await?;
    let events = engine.get("/api/v1/events").await?;
    ensure!(events.status() == StatusCode::OK);
    let mut chunks = events.bytes_stream();
    // It begins with where it stands.
    chunks.next().await.context("no event")??;
    engine.process.terminate()?;
    let end = async {
        while let Some(chunk) = chunks.next().await {
            // A connection that breaks would be an error.
            chunk?;
        }
        anyhow::Ok(())
    };
    timeout(TIMEOUT, end).await??;
    let exit = engine.process.wait_for_exit().await?;
    ensure!(exit.code == Some(0), "{exit:?}");
    ensure!(!exit.stderr.contains("did not finish in time"), "{exit:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_finishes_after_the_port_is_closed() -> Result<()> {
    let engine = Engine::start(&["--lame-duck", "0s", "--drain", "60s"]).await?;
    let upload = engine.begin_upload().await?;
    engine.process.terminate()?;
    engine.wait_until_closed().await?;
    let answer = upload.finish().await?;
    ensure!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    let exit = engine.process.wait_for_exit().await?;
    ensure!(exit.code == Some(0), "{exit:?}");
    ensure!(!exit.stderr.contains("did not finish in time"), "{exit:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_longer_than_the_drain_is_cut_off() -> Result<()> {
    let engine = Engine::start(&["--lame-duck", "0s", "--drain", "1s"]).await?;
    let mut upload = engine.begin_upload().await?;
    let asked = Instant::now();
    engine.process.terminate()?;
    let exit = engine.process.wait_for_exit().await?;
    ensure!(exit.code == Some(0), "{exit:?}");
    ensure!(exit.stderr.contains("did not finish in time"), "{exit:?}");
    ensure!(asked.elapsed() >= Duration::from_secs(1), "it had a second");
    // No answer: the connection has ended, in order or not.
    let answer = upload.answer().await.unwrap_or_default();
    ensure!(!answer.contains("HTTP/1.1 20"), "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_node_with_http2_are_told_to_go_elsewhere() -> Result<()> {
    let mut installation = Installation::start("qa", 0, &[]).await?;
    installation.add_node_flags(&["--lame-duck", "1s", "--drain", "30s"]);
    installation.start_node("n1")?;
    installation.wait_for_nodes(1).await?;
    let url = installation.data_urls().await?.remove(0);
    let url = url.trim_end_matches("/hello/").to_owned();
    let addr = url.trim_start_matches("http://");
    let mut http2 = Http2::open(TcpStream::connect(addr).await?, &url).await?;
    let deadline = Instant::now() + TIMEOUT;
    while http2.get("/.hotswap/ready").await? != StatusCode::OK {
        ensure!(Instant::now() < deadline, "it is not ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    installation.terminate_node("n1").await?;
    http2.ensure_goaway().await
}
