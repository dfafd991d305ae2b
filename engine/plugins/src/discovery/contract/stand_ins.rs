use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, copy_bidirectional, duplex};

use crate::discovery::component::BackendSettings;
use crate::discovery::connection::{StandIn, connect};
use crate::discovery::origin::Origin;
use crate::discovery::resolver::{Resolver, SrvRecord};
use crate::discovery::tls::Tls;

/// Bytes that a connection holds.
const BUFFER: usize = 64 << 10;

/// How long a connection to the registry itself may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

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

/// The registry itself, until it is told to misbehave.
pub(super) struct Relay {
    settings: BackendSettings,
    tls: Arc<Tls>,
    fault: Mutex<Option<Fault>>,
}

impl Relay {
    pub(super) fn new(settings: BackendSettings) -> Self {
        Self {
            tls: Arc::new(Tls::new(settings.tls.clone())),
            settings,
            fault: Mutex::new(None),
        }
    }

    /// From now on each new connection is served like this; by the registry, if there is no fault.
    pub(super) fn set(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

impl StandIn for Relay {
    fn connect(&self, origin: &Origin) -> io::Result<DuplexStream> {
        let fault = *self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fault) = fault {
            return fault.connect(origin);
        }
        let (client, mut server) = duplex(BUFFER);
        let (origin, tls) = (origin.clone(), Arc::clone(&self.tls));
        let resolver = Arc::clone(&self.settings.resolver);
        tokio::spawn(async move {
            let registry = connect(&origin, resolver.as_ref(), &tls, CONNECT_TIMEOUT);
            // Without one the client sees a connection that was closed.
            if let Ok(mut registry) = registry.await {
                let _ = copy_bidirectional(&mut server, &mut registry).await;
            }
        });
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
