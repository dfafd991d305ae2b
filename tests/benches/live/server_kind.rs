use anyhow::{Result, bail, ensure};
use serde_json::Value;

/// Ends each record of the SignalR protocol in JSON. A frame may hold several records.
const RECORD_SEPARATOR: char = '\u{1e}';
/// Precedes an event's number in the field `details` of every server's events.
pub const EVENT_MARK: &str = "bench#";

/// A server under measurement, and the protocol that it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    /// The SignalR protocol in JSON, on a WebSocket without negotiation.
    HotSwap,
    /// Plain JSON, for a program without a protocol of its own.
    Ws,
    /// Socket.IO 5 over Engine.IO 4.
    SocketIo,
}

/// The meaning of a record.
#[derive(Debug, PartialEq, Eq)]
pub enum ParsedRecord {
    /// Irrelevant to the bench.
    Ignored,
    /// The client must send this reply.
    Reply(String),
    /// The subscription stands.
    Subscribed,
    /// An event, with its number.
    Event(u64),
}

impl ServerKind {
    /// In the order of the table's columns.
    pub const ALL: [Self; 3] = [Self::HotSwap, Self::Ws, Self::SocketIo];

    /// The name in the command line and the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::HotSwap => "ours",
            Self::Ws => "ws",
            Self::SocketIo => "socket.io",
        }
    }

    /// The URL of the WebSocket.
    pub fn url(self, port: u16, token: &str) -> String {
        let path = match self {
            Self::HotSwap => format!("hubs/deployments?access_token={token}"),
            Self::Ws => format!("?access_token={token}"),
            Self::SocketIo => "socket.io/?EIO=4&transport=websocket".to_owned(),
        };
        format!("ws://127.0.0.1:{port}/{path}")
    }

    /// The first message of the client, if it has to send one.
    pub fn first_message(self, deployment: &str) -> Option<String> {
        match self {
            Self::HotSwap => Some(format!(
                r#"{{"protocol":"json","version":1}}{RECORD_SEPARATOR}"#
            )),
            Self::Ws => Some(format!(r#"{{"subscribe":"{deployment}"}}"#)),
            Self::SocketIo => None,
        }
    }

    /// The client's keepalive, sent every 15 seconds as the official client does.
    pub fn keepalive(self) -> Option<String> {
        (self == Self::HotSwap).then(|| format!(r#"{{"type":6}}{RECORD_SEPARATOR}"#))
    }

    /// The records of a frame.
    pub fn records(self, frame: &str) -> impl Iterator<Item = &str> {
        let is_signalr = self == Self::HotSwap;
        frame
            .split(move |c| is_signalr && c == RECORD_SEPARATOR)
            .filter(|record| !record.is_empty())
    }

    /// Parses a record for a client that wants the events of `deployment`. Of an event it parses
    /// only the number: time that clients spend is missing to the servers, on the same machine.
    ///
    /// # Errors
    /// If the server should not send such a record.
    pub fn parse(self, record: &str, deployment: &str, token: &str) -> Result<ParsedRecord> {
        let event = self == Self::Ws || record.contains("\"DeploymentStatusChanged\"");
        if event && let Some(number) = event_number(record) {
            return Ok(ParsedRecord::Event(number));
        }
        match self {
            Self::HotSwap => parse_signalr(record, deployment),
            Self::Ws => {
                ensure!(
                    record.contains("\"subscribed\""),
                    "unexpected record from ws: {record}"
                );
                Ok(ParsedRecord::Subscribed)
            }
            Self::SocketIo => Ok(match record {
                "2" => ParsedRecord::Reply("3".to_owned()),
                open if open.starts_with('0') => {
                    ParsedRecord::Reply(format!(r#"40{{"token":"{token}"}}"#))
                }
                connected if connected.starts_with("40") => {
                    ParsedRecord::Reply(format!(r#"420["subscribe","{deployment}"]"#))
                }
                subscribed if subscribed.starts_with("430") => ParsedRecord::Subscribed,
                other => bail!("unexpected record from socket.io: {other}"),
            }),
        }
    }
}

fn parse_signalr(record: &str, deployment: &str) -> Result<ParsedRecord> {
    let message: Value = serde_json::from_str(record)?;
    ensure!(
        message.get("error").is_none(),
        "unexpected record from ours: {record}"
    );
    match message["type"].as_u64() {
        // The handshake succeeded.
        None => Ok(ParsedRecord::Reply(format!(
            r#"{{"type":1,"invocationId":"1","target":"SubscribeToDeployment","arguments":["{deployment}"]}}{RECORD_SEPARATOR}"#
        ))),
        Some(1) => bail!("an event without a number, or of an unexpected name: {record}"),
        Some(3) => Ok(ParsedRecord::Subscribed),
        Some(6) => Ok(ParsedRecord::Ignored),
        Some(_) => bail!("unexpected record from ours: {record}"),
    }
}

fn event_number(record: &str) -> Option<u64> {
    let (_, rest) = record.split_once(EVENT_MARK)?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    rest.get(..end.unwrap_or(rest.len()))?.parse().ok()
}
