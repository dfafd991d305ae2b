use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hotswap_signalr::{WebSocket, WebSocketUpgrade};
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaResponse, MetaResponses, Registry};
use poem_openapi::types::ToJSON;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};
use tokio_util::task::TaskTracker;

use super::reader::{HEARTBEAT_INTERVAL, Reader, ReaderItem, ReaderStopped};

/// The maximum size of a message from the client, in bytes. Such messages are ignored.
const MAX_MESSAGE_SIZE: usize = 4096;
/// How long a single send may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that sends nothing for this long, not even pongs, is considered gone.
const CLIENT_TIMEOUT: Duration = HEARTBEAT_INTERVAL.saturating_mul(3);

/// A response that switches to a WebSocket, which sends the items of a reader as messages.
pub(crate) struct EventSocket(Response);

impl EventSocket {
    /// Spawns the task that serves the WebSocket.
    pub fn new(upgrade: WebSocketUpgrade, reader: Reader, tasks: &TaskTracker) -> Self {
        let response = upgrade.response();
        tasks.spawn(async move {
            let socket = upgrade.connect(MAX_MESSAGE_SIZE);
            if let Ok(Some(socket)) = tokio::time::timeout(SEND_TIMEOUT, socket).await {
                serve(socket, reader).await;
            }
        });
        Self(response)
    }
}

async fn serve(mut socket: WebSocket, mut reader: Reader) {
    let mut last_received = Instant::now();
    loop {
        let items = tokio::select! {
            items = reader.next() => items,
            received = socket.next() => match received {
                Some(Ok(Message::Close(_)) | Err(_)) | None => {
                    let _ = with_timeout(socket.close(None)).await;
                    return;
                }
                Some(Ok(_)) => {
                    last_received = Instant::now();
                    continue;
                }
            }
        };
        let items = match items {
            Ok(items) => items,
            Err(stopped) => return close(socket, close_reason(stopped)).await,
        };
        let is_last = items.iter().any(|item| matches!(item, ReaderItem::End(_)));
        if last_received.elapsed() > CLIENT_TIMEOUT
            || with_timeout(send(&mut socket, &items)).await.is_none()
        {
            return;
        }
        if is_last {
            return close(socket, (CloseCode::Normal, "")).await;
        }
    }
}

async fn send(socket: &mut WebSocket, items: &[ReaderItem]) -> Result<(), Error> {
    for item in items {
        socket.feed(to_message(item)).await?;
    }
    socket.flush().await
}

fn to_message(item: &ReaderItem) -> Message {
    let json = match item {
        ReaderItem::Event(event, cursor) => {
            let mut event = event.to_json().unwrap_or_default();
            event["id"] = cursor.to_string().into();
            event
        }
        ReaderItem::Environment(event, cursor) => {
            let mut event = event.to_json().unwrap_or_default();
            event["id"] = cursor.to_string().into();
            event
        }
        ReaderItem::Damage(damage, cursor) => {
            let damage = damage.to_json().unwrap_or_default();
            json!({ "damaged": damage, "id": cursor.to_string() })
        }
        ReaderItem::Soak(progress) => {
            let progress = progress.to_json().unwrap_or_default();
            json!({ "soak": progress })
        }
        ReaderItem::Reset => json!({ "reset": true }),
        ReaderItem::Live(cursor) => json!({ "live": true, "id": cursor.to_string() }),
        ReaderItem::Heartbeat => return Message::Ping(Bytes::new()),
        ReaderItem::End(cursor) => json!({ "end": true, "id": cursor.to_string() }),
    };
    Message::Text(Value::to_string(&json).into())
}

fn close_reason(stopped: ReaderStopped) -> (CloseCode, &'static str) {
    match stopped {
        ReaderStopped::ShuttingDown => (
            CloseCode::Restart,
            "the server is shutting down: connect again",
        ),
        ReaderStopped::TokenExpired => (CloseCode::Policy, "the token has expired"),
        ReaderStopped::StoreFailed => (CloseCode::Error, "reading events failed: connect again"),
    }
}

/// Closes the socket and waits for the client's close frame.
async fn close(mut socket: WebSocket, (code, reason): (CloseCode, &'static str)) {
    let reason = Utf8Bytes::from_static(reason);
    let _ = with_timeout(async {
        socket.close(Some(CloseFrame { code, reason })).await?;
        while let Some(Ok(_)) = socket.next().await {}
        Ok(())
    })
    .await;
}

/// `None` where sending fails or exceeds [`SEND_TIMEOUT`].
async fn with_timeout<T>(sending: impl Future<Output = Result<T, Error>>) -> Option<T> {
    tokio::time::timeout(SEND_TIMEOUT, sending).await.ok()?.ok()
}

impl IntoResponse for EventSocket {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for EventSocket {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "A WebSocket. Each text message is an event as JSON, or a marker: `live` after the events that existed at the start, `reset` where the given id is of another store, `soak` with what each check of a soak that is under way would come to, `end` after the last event.",
                status: Some(101),
                status_range: None,
                content: Vec::new(),
                headers: Vec::new(),
            }],
        }
    }

    fn register(_: &mut Registry) {}
}
