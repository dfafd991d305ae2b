//! A server that answers well and badly, by the path.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

pub struct TestServer {
    pub addr: SocketAddr,
    /// The requests, whole.
    requests: Arc<Mutex<Vec<String>>>,
    /// Of each connection with TLS, who came for whom.
    handshakes: Arc<Mutex<Vec<Handshake>>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug, Clone, Default)]
pub struct Handshake {
    /// The name that the client came for.
    pub server_name: Option<String>,
    /// The certificate that it showed.
    pub client: Option<CertificateDer<'static>>,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    pub async fn start_tls(config: ServerConfig) -> Self {
        Self::start_with(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let handshakes = Arc::<Mutex<Vec<Handshake>>>::default();
        let (seen, shaken) = (Arc::clone(&requests), Arc::clone(&handshakes));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, shaken, tls) = (Arc::clone(&seen), Arc::clone(&shaken), tls.clone());
                tokio::spawn(async move {
                    let Some(tls) = tls else {
                        return serve(stream, seen).await;
                    };
                    let Ok(stream) = tls.accept(stream).await else {
                        return;
                    };
                    let (_, session) = stream.get_ref();
                    let client = session.peer_certificates().and_then(<[_]>::first);
                    shaken.lock().expect("not poisoned").push(Handshake {
                        server_name: session.server_name().map(str::to_owned),
                        client: client.cloned(),
                    });
                    serve(stream, seen).await;
                });
            }
        });
        Self {
            addr,
            requests,
            handshakes,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub fn handshakes(&self) -> Vec<Handshake> {
        self.handshakes.lock().expect("not poisoned").clone()
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("not poisoned").clone()
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, requests: Arc<Mutex<Vec<String>>>) {
    let Some(request) = read_request(&mut stream).await else {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        return;
    };
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    requests.lock().expect("not poisoned").push(request.clone());
    let body = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let answer = match path.as_str() {
        "/echo" | "/login" | "/elsewhere" => body(&request),
        // `/redirect/STATUS/AUTHORITY`
        path if path.starts_with("/redirect/") => {
            let mut parts = path.split('/').skip(2);
            let (status, to) = (
                parts.next().unwrap_or("302"),
                parts.next().unwrap_or_default(),
            );
            format!("HTTP/1.1 {status} Go\r\nlocation: http://{to}/\r\ncontent-length: 0\r\n\r\n")
        }
        "/garbage" => "220 mail.example ESMTP\r\n".to_owned(),
        "/truncated" => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort".to_owned(),
        "/many-headers" => format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(100_000)),
        "/lines" => {
            let head = "HTTP/1.1 200 OK\r\n\r\none\ntwo\nhal";
            let _ = stream.write_all(head.as_bytes()).await;
            tokio::time::sleep(Duration::from_secs(60)).await;
            return;
        }
        "/endless" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
            return;
        }
        "/silent" => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            return;
        }
        _ => body("ok"),
    };
    let _ = stream.write_all(answer.as_bytes()).await;
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream
            .read(&mut buffer)
            .await
            .ok()
            .filter(|count| *count > 0)?;
        read.extend_from_slice(&buffer[..count]);
        // No method begins like this; a client that speaks TLS does.
        if !read[0].is_ascii_uppercase() {
            return None;
        }
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        });
        if body.len() >= length.unwrap_or(0) {
            return Some(text);
        }
    }
}
