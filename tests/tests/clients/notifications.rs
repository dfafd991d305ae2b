//! The notifications of a deployment: those that a client received, and those that it should
//! have received.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use futures_util::{SinkExt, StreamExt};
use hotswap_common::tls::{ClientFiles, ClientTls};
use hotswap_tests::Installation;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Ends each record of the SignalR protocol.
const RECORD_SEPARATOR: char = '\u{1e}';

/// A notification that a client received. Name and offset identify it.
#[derive(Clone, PartialEq)]
pub struct Notification {
    event: String,
    offset: String,
}

impl Notification {
    /// Reads `{event, argument}`, as the scripts and the examples print it, or
    /// `{target, argument}`, as streams send it.
    pub fn parse(object: &Value) -> Result<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let event = text(&object["event"]).or_else(|| text(&object["target"]));
        let offset = text(&object["argument"]["offset"]);
        Ok(Self {
            event: event.with_context(|| format!("no event: {object}"))?,
            offset: offset.with_context(|| format!("no offset: {object}"))?,
        })
    }

    /// Whether it is an event, and neither the answer to a subscription nor the state of a soak
    /// that is under way, which a client may miss.
    pub fn is_event(&self) -> bool {
        self.event != "Subscribed" && self.event != "SoakProgress"
    }
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.offset, self.event)
    }
}

/// Parses objects with [`Notification::parse`]. Leaves out the answers to subscriptions.
pub fn parse_events<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Result<Vec<Notification>> {
    let notifications = objects.into_iter().map(Notification::parse);
    Ok(notifications
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .filter(Notification::is_event)
        .collect())
}

/// All notifications of a deployment that has ended, as one uninterrupted stream from the
/// beginning delivers them. Checked against the journal.
pub async fn expected_notifications(
    installation: &Installation,
    id: &str,
) -> Result<Vec<Notification>> {
    let items = stream_deployment(installation, json!([id])).await?;
    let epoch = &items.first().context("no answer")?["argument"]["epoch"];
    let beginning = json!({ "epoch": epoch, "offset": "0" });
    let items = stream_deployment(installation, json!([id, beginning])).await?;
    ensure!(items[0]["argument"]["recovered"] == true, "{}", items[0]);
    ensure_matches_journal(installation, id, &items[1..]).await?;
    parse_events(&items)
}

trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// Connects to the engine, with TLS where it speaks HTTPS.
async fn connect(installation: &Installation) -> Result<Box<dyn Connection>> {
    let (scheme, addr) = installation.url.split_once("://").context("no URL")?;
    let addr: SocketAddr = addr.parse()?;
    let stream = TcpStream::connect(addr).await?;
    if scheme == "http" {
        return Ok(Box::new(stream));
    }
    let config = ClientTls::open(ClientFiles {
        authorities: Some(installation.authority_file()),
        trusts_system: false,
        ..ClientFiles::default()
    })?;
    let connector = TlsConnector::from(Arc::new(config.config()?));
    let name = ServerName::from(addr.ip());
    Ok(Box::new(connector.connect(name, stream).await?))
}

/// The items of `StreamDeployment`, to its end. Speaks the protocol itself: this is the
/// reference for the clients under test.
async fn stream_deployment(installation: &Installation, arguments: Value) -> Result<Vec<Value>> {
    let url = format!(
        "{}/hubs/deployments",
        installation.url.replacen("http", "ws", 1)
    );
    let mut request = url.into_client_request()?;
    let token = format!("Bearer {}", installation.token).parse()?;
    request.headers_mut().insert("authorization", token);
    let stream = connect(installation).await?;
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    let call = json!({
        "type": 4,
        "invocationId": "1",
        "target": "StreamDeployment",
        "arguments": arguments,
    });
    for record in [json!({ "protocol": "json", "version": 1 }), call] {
        socket
            .send(format!("{record}{RECORD_SEPARATOR}").into())
            .await?;
    }
    let mut items = Vec::new();
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else {
            continue;
        };
        for record in text.split_terminator(RECORD_SEPARATOR) {
            let mut record: Value = serde_json::from_str(record)?;
            match record["type"].as_u64() {
                Some(2) => items.push(record["item"].take()),
                Some(3) => {
                    ensure!(record.get("error").is_none(), "{record}");
                    return Ok(items);
                }
                _ => {}
            }
        }
    }
    anyhow::bail!("the connection was closed before the stream ended: {items:?}")
}

/// Checks that the items cover the journal's first and last event, and every progress event.
async fn ensure_matches_journal(
    installation: &Installation,
    id: &str,
    items: &[Value],
) -> Result<()> {
    let journal = installation
        .get(&format!("/api/v1/deployments/{id}/events"))
        .await?;
    let journal = journal["events"].as_array().context("no events")?;
    let positions: Vec<_> = journal
        .iter()
        .map(|event| event["position"].to_string())
        .collect();
    let position_of = |item: &Value| {
        let offset = item["argument"]["offset"].as_str().unwrap_or_default();
        offset.split('.').next().unwrap_or_default().to_owned()
    };
    let streamed: Vec<_> = items.iter().map(position_of).collect();
    ensure!(streamed.first() == positions.first() && streamed.last() == positions.last());
    ensure!(streamed.iter().all(|position| positions.contains(position)));
    let journaled_progress = journal
        .iter()
        .map(|event| &event["body"]["data"]["request"])
        .filter(|request| request["call"] == "progress")
        .map(|request| &request["arguments"])
        .map(|arguments| (&arguments["stage"], &arguments["percent"]));
    let streamed_progress = items
        .iter()
        .filter(|item| item["target"] == "DeploymentProgress")
        .map(|item| &item["argument"])
        .map(|argument| (&argument["stage"], &argument["progress"]));
    ensure!(
        journaled_progress.eq(streamed_progress),
        "{journal:?} {items:?}"
    );
    Ok(())
}

/// Checks that a client received every expected notification, once and in order. Only progress
/// may be missing, because newer progress replaces it in a full queue.
pub fn ensure_complete(received: &[Notification], expected: &[Notification]) -> Result<()> {
    let mut remaining = received.iter().peekable();
    for notification in expected {
        if remaining.next_if_eq(&notification).is_none() {
            ensure!(
                notification.event == "DeploymentProgress",
                "expected {notification:?}, got {:?}\nreceived {received:#?}\nof {expected:#?}",
                remaining.peek()
            );
        }
    }
    let unexpected = remaining.next();
    ensure!(
        unexpected.is_none(),
        "received {unexpected:?} after the last of {expected:#?}"
    );
    Ok(())
}

/// The notifications that follow the one with this offset.
pub fn after_offset<'a>(
    notifications: &'a [Notification],
    offset: &Value,
) -> Result<&'a [Notification]> {
    let index = notifications
        .iter()
        .position(|notification| *offset == notification.offset.as_str());
    let index = index.with_context(|| format!("no {offset} in {notifications:?}"))?;
    Ok(&notifications[index + 1..])
}
