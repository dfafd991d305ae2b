use poem::http::{HeaderValue, StatusCode, header};
use poem::{OnUpgrade, Request, Response, Upgraded};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// The size of the read buffer in bytes. Small, because clients send little and there may be
/// ten thousand idle connections.
const READ_BUFFER: usize = 1024;

/// Upgrades a poem request to a WebSocket. Unlike with poem's own upgrade, the caller owns
/// the task that serves it, and so can count, limit and end it.
pub struct WebSocketUpgrade {
    accept: HeaderValue,
    upgrade: OnUpgrade,
}

/// An open WebSocket.
pub type WebSocket = WebSocketStream<Upgraded>;

impl WebSocketUpgrade {
    /// Whether a request asks for a WebSocket. Its other headers may still be invalid.
    pub fn is_requested(request: &Request) -> bool {
        request
            .header(header::UPGRADE)
            .is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"))
    }

    /// Takes the upgrade from a request. `None` where its headers are not those of RFC 6455.
    pub fn from_request(request: &Request) -> Option<Self> {
        let connection = request.header(header::CONNECTION)?;
        let upgrades = connection
            .split(',')
            .any(|option| option.trim().eq_ignore_ascii_case("upgrade"));
        let is_valid = Self::is_requested(request)
            && upgrades
            && request.header(header::SEC_WEBSOCKET_VERSION) == Some("13");
        let key = request.headers().get(header::SEC_WEBSOCKET_KEY)?;
        let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()?;
        let upgrade = request.take_upgrade().ok()?;
        is_valid.then_some(Self { accept, upgrade })
    }

    /// The response to the request. Send it, then wait for [`Self::connect`].
    pub fn response(&self) -> Response {
        Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_ACCEPT, self.accept.clone())
            .finish()
    }

    /// Waits until the response is sent and returns the WebSocket, or `None` if the
    /// client has disconnected. The WebSocket accepts messages of at most
    /// `max_message_size` bytes.
    pub async fn connect(self, max_message_size: usize) -> Option<WebSocket> {
        let upgraded = self.upgrade.await.ok()?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            // Callers join small messages themselves.
            .write_buffer_size(0)
            .max_frame_size(Some(max_message_size))
            .max_message_size(Some(max_message_size));
        let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config));
        Some(socket.await)
    }
}
