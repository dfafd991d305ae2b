use anyhow::{Result, bail, ensure};
use serde_json::Value;

/// Ends each record of the SignalR protocol in JSON; a frame may hold several.
const END: char = '\u{1e}';
/// Stands before an event's number, in the field `details` of each server's events.
pub const MARK: &str = "bench#";

/// How one of the servers is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The SignalR protocol in JSON, on a WebSocket without negotiation.
    Ours,
    /// JSON, as a program without a protocol of its own would do it.
    Ws,
    /// Socket.IO 5 over Engine.IO 4.
    SocketIo,
}

/// What a record says.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing that matters here.
    Nothing,
    /// It must be answered so.
    Answer(String),
    /// From now on events come.
    Subscribed,
    /// An event, with its number.
    Event(u64),
}

impl Dialect {
    /// In the order of the table's columns.
    pub const ALL: [Self; 3] = [Self::Ours, Self::Ws, Self::SocketIo];

    /// The server's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Ws => "ws",
            Self::SocketIo => "socket.io",
        }
    }

    /// Where its WebSocket is.
    pub fn url(self, port: u16, token: &str) -> String {
        let path = match self {
            Self::Ours => format!("hubs/deployments?access_token={token}"),
            Self::Ws => format!("?access_token={token}"),
            Self::SocketIo => "socket.io/?EIO=4&transport=websocket".to_owned(),
        };
        format!("ws://127.0.0.1:{port}/{path}")
    }

    /// What the client says first.
    pub fn greeting(self, deployment: &str) -> Option<String> {
        match self {
            Self::Ours => Some(format!(r#"{{"protocol":"json","version":1}}{END}"#)),
            Self::Ws => Some(format!(r#"{{"subscribe":"{deployment}"}}"#)),
            Self::SocketIo => None,
        }
    }

    /// What the client says every 15 seconds, as the official client does.
    pub fn keepalive(self) -> Option<String> {
        (self == Self::Ours).then(|| format!(r#"{{"type":6}}{END}"#))
    }

    /// The records of a frame.
    pub fn records(self, frame: &str) -> impl Iterator<Item = &str> {
        let ours = self == Self::Ours;
        frame
            .split(move |c| ours && c == END)
            .filter(|record| !record.is_empty())
    }

    /// What a record says, to a client that wants the events of `deployment`. Nothing is
    /// parsed of an event but its number: what the clients take, the servers go without.
    ///
    /// # Errors
    /// Where it is none that this server should send.
    pub fn hear(self, record: &str, deployment: &str, token: &str) -> Result<Heard> {
        let event = self == Self::Ws || record.contains("\"DeploymentStatusChanged\"");
        if event && let Some(number) = number(record) {
            return Ok(Heard::Event(number));
        }
        match self {
            Self::Ours => hear_signalr(record, deployment),
            Self::Ws => {
                ensure!(record.contains("\"subscribed\""), "ws said {record}");
                Ok(Heard::Subscribed)
            }
            Self::SocketIo => Ok(match record {
                "2" => Heard::Answer("3".to_owned()),
                open if open.starts_with('0') => {
                    Heard::Answer(format!(r#"40{{"token":"{token}"}}"#))
                }
                connected if connected.starts_with("40") => {
                    Heard::Answer(format!(r#"420["subscribe","{deployment}"]"#))
                }
                subscribed if subscribed.starts_with("430") => Heard::Subscribed,
                other => bail!("socket.io said {other}"),
            }),
        }
    }
}

fn hear_signalr(record: &str, deployment: &str) -> Result<Heard> {
    let message: Value = serde_json::from_str(record)?;
    ensure!(message.get("error").is_none(), "ours said {record}");
    match message["type"].as_u64() {
        // The handshake was good.
        None => Ok(Heard::Answer(format!(
            r#"{{"type":1,"invocationId":"1","target":"SubscribeToDeployment","arguments":["{deployment}"]}}{END}"#
        ))),
        Some(1) => bail!("an event without a number, or another one than was awaited: {record}"),
        Some(3) => Ok(Heard::Subscribed),
        Some(6) => Ok(Heard::Nothing),
        Some(_) => bail!("ours said {record}"),
    }
}

fn number(record: &str) -> Option<u64> {
    let (_, rest) = record.split_once(MARK)?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    rest.get(..end.unwrap_or(rest.len()))?.parse().ok()
}
