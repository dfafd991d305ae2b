use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use poem::{Request, Response};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message as Frame, Utf8Bytes};

use crate::hub::Hub;
use crate::line::Taken;
use crate::refusal::Refusal;
use crate::session::{Broken, Session, Transport};
use crate::upgrade::{Socket, Upgrade};

/// Records are put together up to about this size, one write for many.
const WRITE: usize = 16 << 10;

/// Switches protocols, and has the socket carry the connection.
pub(crate) fn accept<H: Hub>(
    session: &Arc<Session<H>>,
    request: &Request,
) -> Result<Response, Refusal> {
    let upgrade = Upgrade::of(request).ok_or(Refusal::NoWebSocket)?;
    let carrier =
        session
            .carry(Transport::WebSocket)
            .ok_or_else(|| match session.state().transport {
                Some(Transport::WebSocket) => Refusal::InUse,
                _ => Refusal::OtherTransport,
            })?;
    let carried = Carried {
        session: Arc::clone(session),
        carrier,
    };
    let response = upgrade.response();
    session.shared.tasks.spawn(carried.run(upgrade));
    Ok(response)
}

/// A connection that a WebSocket carries.
struct Carried<H: Hub> {
    session: Arc<Session<H>>,
    carrier: u64,
}

/// What the client sent is being acted on.
type Receiving = Option<JoinHandle<Result<(), Broken>>>;

impl<H: Hub> Carried<H> {
    async fn run(self, upgrade: Upgrade) {
        let config = &self.session.shared.config;
        let socket = upgrade.socket(config.record);
        if let Ok(Some(socket)) = tokio::time::timeout(config.handshake_timeout, socket).await {
            self.carry(socket).await;
        }
    }

    async fn carry(&self, mut socket: Socket) {
        let session = &self.session;
        let mut receiving: Receiving = None;
        loop {
            tokio::select! {
                taken = session.line().take(self.carrier) => {
                    let (records, last) = match taken {
                        Taken::Records(records) => (records, false),
                        Taken::Last(records) => (records, true),
                        Taken::Lost => {
                            let _ = self.within(socket.close(goodbye())).await;
                            return;
                        }
                    };
                    let sent = self.within(send(&mut socket, &records, session.line().is_text()));
                    if sent.await.is_none() {
                        return;
                    }
                    session.sent();
                    if last {
                        self.part(socket).await;
                        return;
                    }
                }
                received = finished(&mut receiving), if receiving.is_some() => {
                    receiving = None;
                    if received.is_none() {
                        // A panic: what was said is lost, so nothing may follow it.
                        session.line().cut();
                    }
                }
                frame = socket.next(), if receiving.is_none() => match frame {
                    Some(Ok(Frame::Text(text))) => receiving = self.receive(text.into()),
                    Some(Ok(Frame::Binary(bytes))) => receiving = self.receive(bytes),
                    Some(Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_))) => {}
                    Some(Ok(Frame::Close(_)) | Err(_)) | None => {
                        let _ = self.within(socket.close(None)).await;
                        return;
                    }
                },
            }
        }
    }

    /// On a task of its own: what a call came to has to be told also where this socket is
    /// lost and another one takes the connection up.
    fn receive(&self, bytes: Bytes) -> Receiving {
        let session = Arc::clone(&self.session);
        Some(tokio::spawn(async move { session.receive(&bytes).await }))
    }

    /// Lets the client close, as it does when it has read that it should.
    async fn part(&self, mut socket: Socket) {
        let parted = async {
            if socket.close(goodbye()).await.is_ok() {
                while let Some(Ok(_)) = socket.next().await {}
            }
            Ok::<(), ()>(())
        };
        let _ = self.within(parted).await;
    }

    /// A client that takes nothing for that long takes nothing any more.
    async fn within<T, E>(&self, sending: impl Future<Output = Result<T, E>>) -> Option<T> {
        let patience = self.session.shared.config.send_timeout;
        tokio::time::timeout(patience, sending).await.ok()?.ok()
    }
}

impl<H: Hub> Drop for Carried<H> {
    fn drop(&mut self) {
        self.session.dropped(self.carrier);
    }
}

/// Any other code than this one surfaces as an error in clients.
fn goodbye() -> Option<CloseFrame> {
    Some(CloseFrame {
        code: CloseCode::Normal,
        reason: Utf8Bytes::from_static(""),
    })
}

async fn finished(receiving: &mut Receiving) -> Option<()> {
    match receiving {
        Some(task) => task.await.ok().map(drop),
        None => std::future::pending().await,
    }
}

async fn send(
    socket: &mut Socket,
    records: &[Bytes],
    text: bool,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    let mut rest = records;
    while let Some((first, others)) = rest.split_first() {
        let mut size = first.len();
        let more = others.iter().take_while(|record| {
            size += record.len();
            size <= WRITE
        });
        let count = 1 + more.count();
        let (together, left) = rest.split_at(count);
        rest = left;
        // One that goes alone is not copied, however many clients it goes to.
        let payload = if count == 1 {
            first.clone()
        } else {
            joined(together)
        };
        let frame = if text {
            Frame::Text(Utf8Bytes::try_from(payload).map_err(|_| {
                // JSON is UTF-8 by its writer.
                tokio_tungstenite::tungstenite::Error::AttackAttempt
            })?)
        } else {
            Frame::Binary(payload)
        };
        socket.feed(frame).await?;
    }
    socket.flush().await
}

fn joined(records: &[Bytes]) -> Bytes {
    let size = records.iter().map(Bytes::len).sum();
    let mut bytes = BytesMut::with_capacity(size);
    for record in records {
        bytes.extend_from_slice(record);
    }
    bytes.freeze()
}
