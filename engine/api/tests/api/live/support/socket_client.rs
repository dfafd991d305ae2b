use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Method;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;

use crate::client::{Answer, Client};

/// How long tests wait for what must come: long enough for a busy machine.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A client of a plain WebSocket.
pub struct SocketClient(pub WebSocketStream<TcpStream>);

impl SocketClient {
    /// Opens a WebSocket. The path may have a query string. Panics if it is rejected.
    pub async fn open(client: &Client, path: &str) -> Self {
        Self::open_over(TcpSocket::new_v4().unwrap(), client, path).await
    }

    /// The same over this socket.
    pub async fn open_over(socket: TcpSocket, client: &Client, path: &str) -> Self {
        let addr = client.base.trim_start_matches("http://");
        let stream = socket.connect(addr.parse().unwrap()).await.unwrap();
        let url = format!("ws://{addr}{path}");
        let mut request = url.into_client_request().unwrap();
        if let Some(token) = client.token() {
            let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        let opened = tokio_tungstenite::client_async(request, stream).await;
        Self(opened.unwrap().0)
    }

    /// The next text message. The error is the code of the close frame, or `None` if the
    /// connection was lost.
    pub async fn text(&mut self) -> Result<String, Option<u16>> {
        loop {
            let next = tokio::time::timeout(TIMEOUT, self.0.next());
            return match next.await.expect("a message in time") {
                Some(Ok(Message::Text(text))) => Ok(text.to_string()),
                Some(Ok(Message::Close(frame))) => Err(frame.map(|frame| frame.code.into())),
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => Err(None),
            };
        }
    }

    /// The next text message, as JSON.
    pub async fn message(&mut self) -> Result<Value, Option<u16>> {
        let text = self.text().await?;
        Ok(serde_json::from_str(&text).unwrap())
    }

    /// All messages up to the close frame, and its code.
    pub async fn until_closed(mut self) -> (Vec<Value>, Option<u16>) {
        let mut messages = Vec::new();
        loop {
            match self.message().await {
                Ok(message) => messages.push(message),
                Err(code) => return (messages, code),
            }
        }
    }
}

/// The response to an upgrade request that is rejected.
pub async fn rejected_upgrade(client: &Client, path: &str) -> Answer {
    let upgrade = |request: reqwest::RequestBuilder| {
        request
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    client.send(Method::GET, path, upgrade).await
}
