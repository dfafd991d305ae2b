//! A client of the API that leaves in the middle of its requests.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hotswap_tests::{Cluster, NODE_TOKEN};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::PATIENCE;

pub const WASM: &str = "application/wasm";
const JSON: &str = "application/json";
/// How many points of a request's bytes [`Client::leave_everywhere`] leaves at.
const POINTS: usize = 40;
/// How many moments after its last byte.
const MOMENTS: u32 = 20;

/// Sends requests with one token.
pub struct Client {
    address: String,
    token: &'static str,
}

/// A request that can be sent many times.
pub struct Request {
    /// Its method and path.
    name: String,
    bytes: Vec<u8>,
}

/// What the engine answered.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    request: String,
}

/// A connection whose client has left.
#[must_use]
pub struct Departure(TcpStream);

impl Client {
    /// A person with every right.
    pub fn admin(cluster: &Cluster) -> Self {
        Self::new(cluster, cluster.token)
    }

    /// A node.
    pub fn node(cluster: &Cluster) -> Self {
        Self::new(cluster, NODE_TOKEN)
    }

    fn new(cluster: &Cluster, token: &'static str) -> Self {
        let address = cluster.url.trim_start_matches("http://").to_owned();
        Self { address, token }
    }

    /// A request with a JSON body, or without a body where it is `null`.
    pub fn json(&self, method: &str, path: &str, body: &Value) -> Request {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        self.request(method, path, JSON, body.as_bytes())
    }

    /// A request with this body.
    pub fn request(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> Request {
        let (token, length) = (self.token, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n\
             authorization: Bearer {token}\r\ncontent-type: {media_type}\r\n\
             content-length: {length}\r\n\r\n"
        );
        Request {
            name: format!("{method} {path}"),
            bytes: [head.as_bytes(), body].concat(),
        }
    }

    /// Sends a request, and leaves after `delay` without waiting for the answer.
    pub async fn leave(&self, request: &Request, delay: Duration) -> Result<Departure> {
        self.leave_after(&request.bytes, delay).await
    }

    /// The server sees what it sees when a client closes its connection: the end of the bytes.
    /// But here the client can still see when the server is done with it.
    async fn leave_after(&self, bytes: &[u8], delay: Duration) -> Result<Departure> {
        let mut stream = self.connect().await?;
        stream.write_all(bytes).await?;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        // Fails where the server has closed the connection already.
        let _ = stream.shutdown().await;
        Ok(Departure(stream))
    }

    /// Leaves at many points of the request, and at many moments after its last byte. Returns
    /// once the server has none of these connections any more: nothing of them happens later,
    /// but for what waits for its turn in the store already.
    pub async fn leave_everywhere(&self, request: &Request) -> Result<()> {
        let bytes = &request.bytes;
        let mut departures = Vec::new();
        for end in (1..bytes.len()).step_by(bytes.len().div_ceil(POINTS)) {
            departures.push(self.leave_after(&bytes[..end], Duration::ZERO).await?);
        }
        for moment in 0..MOMENTS {
            // Most of them soon, and the last after what a request takes on a busy machine.
            let delay = Duration::from_micros(50) * moment * moment;
            departures.push(self.leave(request, delay).await?);
        }
        for departure in departures {
            let left = departure.wait().await;
            left.with_context(|| request.name.clone())?;
        }
        Ok(())
    }

    /// Leaves when this many bytes of the answer have arrived, or all.
    pub async fn leave_in_answer(&self, request: &Request, bytes: usize) -> Result<()> {
        let mut stream = self.connect().await?;
        stream.write_all(&request.bytes).await?;
        let mut answer = vec![0; bytes];
        let read = async {
            let mut filled = 0;
            while filled < bytes {
                match stream.read(&mut answer[filled..]).await? {
                    0 => break,
                    read => filled += read,
                }
            }
            anyhow::Ok(())
        };
        let read = tokio::time::timeout(PATIENCE, read).await;
        read.with_context(|| request.name.clone())?
    }

    /// Sends a request, and waits for the answer.
    pub async fn send(&self, request: &Request) -> Result<Answer> {
        let exchange = async {
            let mut stream = self.connect().await?;
            stream.write_all(&request.bytes).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            anyhow::Ok(answer)
        };
        let answer = tokio::time::timeout(PATIENCE, exchange).await;
        let answer = answer.with_context(|| format!("{}: no answer", request.name))?;
        let answer = answer.with_context(|| request.name.clone())?;
        Answer::parse(request, &answer)
    }

    /// Leaves everywhere, and then asks once more and stays. Fails where the answer has none of
    /// these statuses.
    pub async fn ask(&self, request: &Request, statuses: &[u16]) -> Result<Answer> {
        self.leave_everywhere(request).await?;
        let answer = self.send(request).await?;
        answer.expect(statuses)?;
        Ok(answer)
    }

    async fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Answer {
    fn parse(request: &Request, answer: &[u8]) -> Result<Self> {
        let context = || format!("{}: {}", request.name, String::from_utf8_lossy(answer));
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let end = end.with_context(context)?;
        let head = String::from_utf8_lossy(&answer[..end]);
        let status = head.split(' ').nth(1).with_context(context)?;
        Ok(Self {
            status: status.parse().with_context(context)?,
            body: answer[end + 4..].to_vec(),
            request: request.name.clone(),
        })
    }

    /// Fails where it has none of these statuses, and says what was asked and answered.
    pub fn expect(&self, statuses: &[u16]) -> Result<()> {
        ensure!(
            statuses.contains(&self.status),
            "{}: not one of {statuses:?} but {} {}",
            self.request,
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        Ok(())
    }
}

impl Departure {
    /// Returns once the server has closed the connection: by then it has dropped the request,
    /// or carried it out.
    pub async fn wait(mut self) -> Result<()> {
        let mut answer = Vec::new();
        let read = self.0.read_to_end(&mut answer);
        // A reset is an end, too.
        let _ = tokio::time::timeout(PATIENCE, read)
            .await
            .context("the server keeps a connection whose client has left")?;
        Ok(())
    }
}
