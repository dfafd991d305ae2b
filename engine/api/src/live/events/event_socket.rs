//! Events as messages of a plain WebSocket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hotswap_signalr::{Socket, Upgrade};
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaResponse, MetaResponses, Registry};
use poem_openapi::types::ToJSON;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};
use tokio_util::task::TaskTracker;

use super::reader::{Cut, HEARTBEAT, News, Reader};

/// The longest message that is taken. Nothing that a client says means anything here.
const LONGEST: usize = 4096;
/// A client that takes nothing for so long takes nothing any more.
const SENDING: Duration = Duration::from_secs(10);
/// A client that does not answer pings for so long is gone.
const SILENT: Duration = HEARTBEAT.saturating_mul(3);

/// The protocol is switched, and events follow as messages.
pub(crate) struct Switched(Response);

impl Switched {
    /// Tells what the reader is told.
    pub fn new(upgrade: Upgrade, reader: Reader, tasks: &TaskTracker) -> Self {
        let response = upgrade.response();
        tasks.spawn(async move {
            let socket = tokio::time::timeout(SENDING, upgrade.socket(LONGEST)).await;
            if let Ok(Some(socket)) = socket {
                tell(socket, reader).await;
            }
        });
        Self(response)
    }
}

async fn tell(mut socket: Socket, mut reader: Reader) {
    let mut heard = Instant::now();
    loop {
        let news = tokio::select! {
            news = reader.next() => news,
            said = socket.next() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => {
                    let _ = within(socket.close(None)).await;
                    return;
                }
                Some(Ok(_)) => {
                    heard = Instant::now();
                    continue;
                }
            }
        };
        let news = match news {
            Ok(news) => news,
            Err(cut) => return part(socket, code(cut)).await,
        };
        let over = news.iter().any(|news| matches!(news, News::End(_)));
        if heard.elapsed() > SILENT || within(send(&mut socket, &news)).await.is_none() {
            return;
        }
        if over {
            return part(socket, (CloseCode::Normal, "")).await;
        }
    }
}

async fn send(
    socket: &mut Socket,
    news: &[News],
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    for news in news {
        socket.feed(message(news)).await?;
    }
    socket.flush().await
}

fn message(news: &News) -> Message {
    let told = match news {
        News::Event(event, place) => {
            let mut event = event.to_json().unwrap_or_default();
            event["id"] = place.to_string().into();
            event
        }
        News::Reset => json!({ "reset": true }),
        News::Live(place) => json!({ "live": true, "id": place.to_string() }),
        News::Silence => return Message::Ping(Bytes::new()),
        News::End(place) => json!({ "end": true, "id": place.to_string() }),
    };
    Message::Text(Value::to_string(&told).into())
}

fn code(cut: Cut) -> (CloseCode, &'static str) {
    match cut {
        Cut::Closing => (
            CloseCode::Restart,
            "the server is shutting down: connect again",
        ),
        Cut::Expired => (CloseCode::Policy, "the token has expired"),
        Cut::Failed => (CloseCode::Error, "events could not be read: connect again"),
    }
}

/// Lets the client answer the close, for a while.
async fn part(mut socket: Socket, (code, reason): (CloseCode, &'static str)) {
    let reason = Utf8Bytes::from_static(reason);
    let _ = within(async {
        socket.close(Some(CloseFrame { code, reason })).await?;
        while let Some(Ok(_)) = socket.next().await {}
        Ok(())
    })
    .await;
}

async fn within<T>(
    sending: impl Future<Output = Result<T, tokio_tungstenite::tungstenite::Error>>,
) -> Option<T> {
    tokio::time::timeout(SENDING, sending).await.ok()?.ok()
}

impl IntoResponse for Switched {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for Switched {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "A WebSocket; each text message is an event as JSON, or says that all had been told (`live`), that the place given was of another store (`reset`), or that nothing follows (`end`).",
                status: Some(101),
                status_range: None,
                content: Vec::new(),
                headers: Vec::new(),
            }],
        }
    }

    fn register(_: &mut Registry) {}
}
