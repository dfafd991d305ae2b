//! A node whose responses a test chooses, down to the bytes on the wire.

use std::sync::Arc;
use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::shop;

/// A request that a fake node received.
#[derive(Debug, Clone)]
pub(super) struct ReceivedRequest {
    /// `PUT /path`.
    pub(super) line: String,
    pub(super) authorization: String,
    /// Where the client believes that it is.
    pub(super) host: String,
    /// Who the request is for.
    pub(super) node: String,
    pub(super) boot: String,
    pub(super) body: Value,
}

/// How a fake node responds.
pub(super) enum FakeResponse {
    /// From the node that the request is for.
    Json(u16, Value),
    /// From this node and start.
    From(&'static str, &'static str, u16),
    /// Sends these bytes, then closes the connection.
    Raw(Vec<u8>),
    /// Never responds.
    Hang,
    /// Resets the connection.
    Reset,
    /// Sends an endless body.
    Flood,
}

/// A fake node, which stops when it is dropped.
pub(super) struct FakeNode {
    pub(super) url: String,
    requests: Arc<Mutex<Vec<ReceivedRequest>>>,
    serving: JoinHandle<()>,
}

impl FakeNode {
    /// Responds to each request with what `respond` returns for its number, from 0, and
    /// itself.
    pub(super) async fn start(
        respond: impl Fn(usize, &ReceivedRequest) -> FakeResponse + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::<Mutex<Vec<ReceivedRequest>>>::default();
        let (log, respond) = (Arc::clone(&requests), Arc::new(respond));
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (log, respond) = (Arc::clone(&log), Arc::clone(&respond));
                connections.spawn(async move {
                    // Fails if the client closes the connection.
                    let _ = serve(stream, &log, respond.as_ref()).await;
                });
            }
        });
        Self {
            url,
            requests,
            serving,
        }
    }

    pub(super) fn requests(&self) -> Vec<ReceivedRequest> {
        self.requests.lock().expect("not poisoned").clone()
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<ReceivedRequest>>,
    respond: &(impl Fn(usize, &ReceivedRequest) -> FakeResponse + ?Sized),
) -> std::io::Result<()> {
    while let Some(request) = receive(&mut stream).await? {
        let number = {
            let mut log = log.lock().expect("not poisoned");
            log.push(request.clone());
            log.len() - 1
        };
        match respond(number, &request) {
            FakeResponse::Json(status, body) => {
                let body = body.to_string();
                let length = body.len();
                let (node, boot) = (&request.node, &request.boot);
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nhotswap-node: {node}\r\nhotswap-boot: {boot}\r\n\
                     content-length: {length}\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).await?;
            }
            FakeResponse::From(node, boot, status) => {
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nhotswap-node: {node}\r\nhotswap-boot: {boot}\r\n\
                     content-length: 2\r\n\r\n{{}}"
                );
                stream.write_all(answer.as_bytes()).await?;
            }
            FakeResponse::Raw(bytes) => {
                stream.write_all(&bytes).await?;
                return Ok(());
            }
            FakeResponse::Hang => std::future::pending().await,
            FakeResponse::Reset => {
                stream.set_zero_linger()?;
                return Ok(());
            }
            FakeResponse::Flood => {
                let node = &request.node;
                let head = format!("HTTP/1.1 200 X\r\nhotswap-node: {node}\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
                loop {
                    stream.write_all(&[b'x'; 65536]).await?;
                }
            }
        }
    }
    Ok(())
}

async fn receive(stream: &mut TcpStream) -> std::io::Result<Option<ReceivedRequest>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let header = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map_or(String::new(), |(_, value)| value.to_owned())
    };
    let length: usize = header("content-length").parse().unwrap_or(0);
    while bytes.len() < head + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    let line = text.lines().next().unwrap_or_default();
    Ok(Some(ReceivedRequest {
        line: line.trim_end_matches(" HTTP/1.1").to_owned(),
        authorization: header("authorization"),
        host: header("host"),
        node: header("hotswap-node"),
        boot: header("hotswap-boot"),
        body: serde_json::from_slice(&bytes[head..head + length]).unwrap_or(Value::Null),
    }))
}

/// An address at which no server listens.
pub(super) async fn unused_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

/// The status of a node on which the version of the tests is active.
pub(super) fn module_status(requests: u64) -> Value {
    let version = json!({"version": "1.2.3", "digest": super::version().digest.to_string()});
    json!({
        "module": shop().as_str(), "active": version, "percent": 0, "fence": 1,
        "boot": "first", "cpuMillis": 77,
        "versions": [{
            "version": version, "requests": requests, "errors": 3, "inFlight": 0,
            "cpuMicros": 250,
            "latency": [{"bucket": 4, "count": 5}, {"bucket": 9, "count": 1}],
            "memoryBytes": 4096,
        }],
    })
}

pub(super) fn problem(status: u16, detail: &str) -> FakeResponse {
    FakeResponse::Json(
        status,
        json!({"type": "about:blank", "title": "No", "detail": detail}),
    )
}
