use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use poem::{Request, Response};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message as Frame, Utf8Bytes};

use super::upgrade::{WebSocket, WebSocketUpgrade};
use crate::hub::Hub;
use crate::rejection::Rejection;
use crate::send_queue::Batch;
use crate::session::{Session, SessionClosed, SessionGuard, Transport};

/// Messages are joined into frames of up to about this size in bytes, to save writes.
const MAX_JOINED: usize = 16 << 10;

/// Switches protocols and serves the WebSocket on a task.
pub(crate) fn accept<H: Hub>(
    session: &Arc<Session<H>>,
    request: &Request,
) -> Result<Response, Rejection> {
    let upgrade = WebSocketUpgrade::from_request(request).ok_or(Rejection::InvalidUpgrade)?;
    let guard = SessionGuard::attach(Arc::clone(session), Transport::WebSocket)?;
    let response = upgrade.response();
    let connection = WebSocketConnection { guard };
    session.context.tasks.spawn(connection.run(upgrade));
    Ok(response)
}

/// A session over a WebSocket.
struct WebSocketConnection<H: Hub> {
    guard: SessionGuard<H>,
}

/// The task that processes received bytes, while there is one.
type ReceiveTask = Option<JoinHandle<Result<(), SessionClosed>>>;

impl<H: Hub> WebSocketConnection<H> {
    async fn run(self, upgrade: WebSocketUpgrade) {
        let config = &self.guard.session.context.config;
        let socket = upgrade.connect(config.max_message_size);
        if let Ok(Some(socket)) = tokio::time::timeout(config.handshake_timeout, socket).await {
            self.serve(socket).await;
        }
    }

    async fn serve(&self, mut socket: WebSocket) {
        let session = &self.guard.session;
        let mut receive_task: ReceiveTask = None;
        loop {
            tokio::select! {
                batch = self.guard.next_batch() => {
                    let (messages, is_last) = match batch {
                        Batch::Messages(messages) => (messages, false),
                        Batch::Last(messages) => (messages, true),
                        Batch::Detached => {
                            let _ = self.with_timeout(socket.close(normal_closure())).await;
                            return;
                        }
                    };
                    let is_text = session.send_queue().is_text();
                    let sent = self.with_timeout(send(&mut socket, &messages, is_text));
                    if sent.await.is_none() {
                        return;
                    }
                    session.mark_sent();
                    if is_last {
                        self.close(socket).await;
                        return;
                    }
                }
                finished = join(&mut receive_task), if receive_task.is_some() => {
                    receive_task = None;
                    if finished.is_none() {
                        // A panic: the input is lost, so nothing may follow it.
                        session.send_queue().abort();
                    }
                }
                frame = socket.next(), if receive_task.is_none() => match frame {
                    Some(Ok(Frame::Text(text))) => receive_task = self.receive(text.into()),
                    Some(Ok(Frame::Binary(bytes))) => receive_task = self.receive(bytes),
                    Some(Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_))) => {}
                    Some(Ok(Frame::Close(_)) | Err(_)) | None => {
                        let _ = self.with_timeout(socket.close(None)).await;
                        return;
                    }
                },
            }
        }
    }

    /// On a task of its own: results have to be queued even if this socket is lost and
    /// another one attaches.
    fn receive(&self, bytes: Bytes) -> ReceiveTask {
        let session = Arc::clone(&self.guard.session);
        Some(tokio::spawn(async move { session.receive(&bytes).await }))
    }

    /// Closes the socket and waits for the client's close frame.
    async fn close(&self, mut socket: WebSocket) {
        let closed = async {
            if socket.close(normal_closure()).await.is_ok() {
                while let Some(Ok(_)) = socket.next().await {}
            }
            Ok::<(), ()>(())
        };
        let _ = self.with_timeout(closed).await;
    }

    /// `None` where sending fails or exceeds the send time-out.
    async fn with_timeout<T, E>(&self, sending: impl Future<Output = Result<T, E>>) -> Option<T> {
        let timeout = self.guard.session.context.config.send_timeout;
        tokio::time::timeout(timeout, sending).await.ok()?.ok()
    }
}

/// Clients report any other code as an error.
fn normal_closure() -> Option<CloseFrame> {
    Some(CloseFrame {
        code: CloseCode::Normal,
        reason: Utf8Bytes::from_static(""),
    })
}

/// Waits for the task. `None` if it panicked.
async fn join(task: &mut ReceiveTask) -> Option<()> {
    match task {
        Some(task) => task.await.ok().map(drop),
        None => std::future::pending().await,
    }
}

async fn send(
    socket: &mut WebSocket,
    messages: &[Bytes],
    is_text: bool,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    let mut rest = messages;
    while let Some((first, others)) = rest.split_first() {
        let mut size = first.len();
        let more = others.iter().take_while(|message| {
            size += message.len();
            size <= MAX_JOINED
        });
        let count = 1 + more.count();
        let (to_join, remaining) = rest.split_at(count);
        rest = remaining;
        // A single message is not copied, however many clients it is sent to.
        let payload = if count == 1 {
            first.clone()
        } else {
            concat(to_join)
        };
        let frame = if is_text {
            Frame::Text(Utf8Bytes::try_from(payload).map_err(|_| {
                // Unreachable: the JSON encoder writes UTF-8.
                tokio_tungstenite::tungstenite::Error::AttackAttempt
            })?)
        } else {
            Frame::Binary(payload)
        };
        socket.feed(frame).await?;
    }
    socket.flush().await
}

fn concat(messages: &[Bytes]) -> Bytes {
    let size = messages.iter().map(Bytes::len).sum();
    let mut bytes = BytesMut::with_capacity(size);
    for message in messages {
        bytes.extend_from_slice(message);
    }
    bytes.freeze()
}
