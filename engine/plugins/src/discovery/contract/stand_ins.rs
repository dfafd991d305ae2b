use std::io;
use std::net::IpAddr;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use crate::discovery::connection::StandIn;
use crate::discovery::origin::Origin;
use crate::discovery::resolver::{Resolver, SrvRecord};

/// Bytes that a connection holds.
const BUFFER: usize = 64 << 10;

/// How a server misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It takes no connections.
    Refuses,
    /// It takes a request and does not answer.
    IsSilent,
    /// It takes a request and closes the connection.
    Closes,
    /// It speaks another protocol.
    SpeaksNonsense,
    /// Its answer is shorter than it says.
    BreaksOff,
    /// Its answer has no end.
    IsEndless,
    /// It answers with a status and a text.
    Answers(u16, &'static str),
}

impl StandIn for Fault {
    fn connect(&self, _: &Origin) -> io::Result<DuplexStream> {
        if *self == Self::Refuses {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (client, server) = duplex(BUFFER);
        tokio::spawn(serve(*self, server));
        Ok(client)
    }
}

async fn serve(fault: Fault, mut stream: DuplexStream) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read_buf(&mut head).await {
            Ok(1..) => {}
            _ => return,
        }
    }
    let ok = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}");
    let answer = match fault {
        Fault::Refuses | Fault::Closes => return,
        Fault::IsSilent => String::new(),
        Fault::SpeaksNonsense => "220 mail.example ESMTP\r\n".to_owned(),
        Fault::BreaksOff => ok("content-length: 100\r\n\r\n[{\"id\":"),
        Fault::IsEndless => ok("content-type: application/json\r\n\r\n["),
        Fault::Answers(status, text) => format!(
            "HTTP/1.1 {status} -\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        ),
    };
    if stream.write_all(answer.as_bytes()).await.is_err() {
        return;
    }
    match fault {
        Fault::IsEndless => while stream.write_all(&[b' '; 4096]).await.is_ok() {},
        Fault::BreaksOff => {}
        // Until the client leaves. It may still write a body.
        _ => while matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {},
    }
}

/// No name server answers.
pub(super) struct SilentNameServers;

#[async_trait]
impl Resolver for SilentNameServers {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Err(silence(name))
    }

    async fn srv(&self, name: &str) -> io::Result<Vec<SrvRecord>> {
        Err(silence(name))
    }
}

fn silence(name: &str) -> io::Error {
    let text = format!("no name server answered in time what {name} is");
    io::Error::new(io::ErrorKind::TimedOut, text)
}
