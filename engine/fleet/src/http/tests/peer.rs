//! A server that answers as a test tells it, down to the bytes on the wire.

use std::sync::Arc;
use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::{shop, version};

/// What a request was.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// `PUT /path`.
    pub(super) line: String,
    pub(super) authorization: String,
    pub(super) body: Value,
}

/// What to do about a request.
pub(super) enum Say {
    Json(u16, Value),
    /// These bytes, then the connection ends.
    Raw(Vec<u8>),
    /// Never anything.
    Hang,
    /// Cuts the connection without a word.
    Reset,
    /// A body without end.
    Flood,
}

/// Stops when dropped.
pub(super) struct Peer {
    pub(super) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: JoinHandle<()>,
}

impl Peer {
    /// Answers each request by what `say` makes of its number, from 0, and of itself.
    pub(super) async fn start(say: impl Fn(usize, &Asked) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (log, say) = (Arc::clone(&asked), Arc::new(say));
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (log, say) = (Arc::clone(&log), Arc::clone(&say));
                connections.spawn(async move {
                    // The client ends connections as it likes.
                    let _ = serve(stream, &log, say.as_ref()).await;
                });
            }
        });
        Self {
            url,
            asked,
            serving,
        }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Asked>>,
    say: &(impl Fn(usize, &Asked) -> Say + ?Sized),
) -> std::io::Result<()> {
    while let Some(asked) = receive(&mut stream).await? {
        let number = {
            let mut log = log.lock().expect("not poisoned");
            log.push(asked.clone());
            log.len() - 1
        };
        match say(number, &asked) {
            Say::Json(status, body) => {
                let body = body.to_string();
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await?;
            }
            Say::Raw(bytes) => {
                stream.write_all(&bytes).await?;
                return Ok(());
            }
            Say::Hang => std::future::pending().await,
            Say::Reset => {
                stream.set_zero_linger()?;
                return Ok(());
            }
            Say::Flood => {
                stream.write_all(b"HTTP/1.1 200 X\r\n\r\n").await?;
                loop {
                    stream.write_all(&[b'x'; 65536]).await?;
                }
            }
        }
    }
    Ok(())
}

async fn receive(stream: &mut TcpStream) -> std::io::Result<Option<Asked>> {
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
    Ok(Some(Asked {
        line: line.trim_end_matches(" HTTP/1.1").to_owned(),
        authorization: header("authorization"),
        body: serde_json::from_slice(&bytes[head..head + length]).unwrap_or(Value::Null),
    }))
}

/// An address at which nobody listens.
pub(super) async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

/// What a node says that runs the version of the tests.
pub(super) fn status(requests: u64) -> Value {
    let told = json!({"version": "1.2.3", "digest": version().digest.to_string()});
    json!({
        "module": shop().as_str(), "active": told, "percent": 0, "fence": 1,
        "boot": "first", "cpuMillis": 77,
        "versions": [{
            "version": told, "requests": requests, "errors": 3, "inFlight": 0,
            "cpuMicros": 250,
            "latency": [{"bucket": 4, "count": 5}, {"bucket": 9, "count": 1}],
            "memoryBytes": 4096,
        }],
    })
}

pub(super) fn problem(status: u16, detail: &str) -> Say {
    Say::Json(
        status,
        json!({"type": "about:blank", "title": "No", "detail": detail}),
    )
}
