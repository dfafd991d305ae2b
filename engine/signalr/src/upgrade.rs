use poem::http::{HeaderValue, StatusCode, header};
use poem::{OnUpgrade, Request, Response, Upgraded};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// Read at once. Clients say little: small, so that ten thousand silent ones cost little.
const READ: usize = 1024;

/// A WebSocket on poem, whose task is the caller's: so that it can be counted, bounded and
/// ended, unlike with poem's own.
pub struct Upgrade {
    accept: HeaderValue,
    upgrade: OnUpgrade,
}

/// An open WebSocket.
pub type Socket = WebSocketStream<Upgraded>;

impl Upgrade {
    /// Whether a request asks for a WebSocket, well or badly.
    pub fn is_asked(request: &Request) -> bool {
        request
            .header(header::UPGRADE)
            .is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"))
    }

    /// What a request asks for, where its headers are those of RFC 6455.
    pub fn of(request: &Request) -> Option<Self> {
        let connection = request.header(header::CONNECTION)?;
        let upgrades = connection
            .split(',')
            .any(|option| option.trim().eq_ignore_ascii_case("upgrade"));
        let fits = Self::is_asked(request)
            && upgrades
            && request.header(header::SEC_WEBSOCKET_VERSION) == Some("13");
        let key = request.headers().get(header::SEC_WEBSOCKET_KEY)?;
        let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()?;
        let upgrade = request.take_upgrade().ok()?;
        fits.then_some(Self { accept, upgrade })
    }

    /// The answer to the request.
    pub fn response(&self) -> Response {
        Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_ACCEPT, self.accept.clone())
            .finish()
    }

    /// The socket, once the answer has gone out; nothing where the client has gone. Takes
    /// messages of at most `longest` bytes.
    pub async fn socket(self, longest: usize) -> Option<Socket> {
        let upgraded = self.upgrade.await.ok()?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            // What goes together is put together before.
            .write_buffer_size(0)
            .max_frame_size(Some(longest))
            .max_message_size(Some(longest));
        let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config));
        Some(socket.await)
    }
}
