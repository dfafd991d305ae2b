//! One connection, independent of its transport: its user, its handshake, the invocations
//! it makes and the messages it is sent.

mod guard;
mod invocations;
mod on_tick;
mod transport_state;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

pub(crate) use self::guard::SessionGuard;
pub(crate) use self::transport_state::{Transport, TransportState};
use crate::hub::{Caller, ConnectionHandle, Hub};
use crate::outbound_message::OutboundMessage;
use crate::protocol::{CompletionResult, HandshakeParser, HandshakeRequest, Message, Parser};
use crate::reconnect::ReceivedSequence;
use crate::send_queue::{Attachment, Close, SendQueue};
use crate::session_context::SessionContext;

/// See the module.
pub(crate) struct Session<H: Hub> {
    pub context: Arc<SessionContext<H>>,
    pub connection_token: String,
    /// Only requests of this user can use the connection.
    pub user_id: String,
    pub caller: Caller<H::User>,
    pub timestamps: Timestamps,
    transport_state: Mutex<TransportState>,
    input: tokio::sync::Mutex<Input>,
    /// `None` without stateful reconnect.
    received: Mutex<Option<ReceivedSequence>>,
    /// The tasks of open streams, by invocation id.
    streams: Mutex<HashMap<String, AbortHandle>>,
    ended: AtomicBool,
}

/// The parameters of [`Session::new`].
pub(crate) struct NewSession<H: Hub> {
    pub context: Arc<SessionContext<H>>,
    pub connection_token: String,
    pub user_id: String,
    pub user: H::User,
    pub send_queue: SendQueue,
    /// See [`Timestamps::expires_at`].
    pub expires_at: u64,
    pub stateful_reconnect: bool,
}

/// When things last happened, in milliseconds since the service started.
#[derive(Debug, Default)]
pub(crate) struct Timestamps {
    pub created: u64,
    pub received: AtomicU64,
    pub sent: AtomicU64,
    /// When the token expires; `u64::MAX` for never.
    pub expires_at: AtomicU64,
    /// When the connection started to close; 0 while it is open.
    pub closing_since: AtomicU64,
}

enum Input {
    BeforeHandshake(HandshakeParser),
    AfterHandshake(Parser),
}

/// The connection is closed, and no further input is processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionClosed;

impl<H: Hub> Session<H> {
    pub fn new(new: NewSession<H>) -> Self {
        let now = new.context.now_millis();
        let caller = Caller {
            user: Arc::new(new.user),
            connection: ConnectionHandle(Arc::new(new.send_queue)),
        };
        Self {
            context: new.context,
            connection_token: new.connection_token,
            user_id: new.user_id,
            caller,
            timestamps: Timestamps {
                created: now,
                received: now.into(),
                sent: now.into(),
                expires_at: new.expires_at.into(),
                closing_since: 0.into(),
            },
            transport_state: Mutex::new(TransportState::new(now, new.stateful_reconnect)),
            input: tokio::sync::Mutex::new(Input::BeforeHandshake(HandshakeParser::default())),
            received: Mutex::new(new.stateful_reconnect.then(ReceivedSequence::new)),
            streams: Mutex::new(HashMap::new()),
            ended: AtomicBool::new(false),
        }
    }

    pub fn send_queue(&self) -> &SendQueue {
        &self.caller.connection.0
    }

    pub fn transport_state(&self) -> TransportState {
        *lock(&self.transport_state)
    }

    /// Attaches a transport, in place of the one before. `None` if that is not allowed:
    /// the connection uses another transport, or this transport cannot reconnect.
    pub fn attach(&self, transport: Transport) -> Option<Attachment> {
        let mut state = lock(&self.transport_state);
        let is_first = state.transport.is_none();
        if !is_first && !state.can_reattach(transport) {
            return None;
        }
        if transport != Transport::WebSocket {
            self.disable_reconnect(&mut state);
        } else if !is_first && let Some(received) = &mut *lock(&self.received) {
            received.on_reconnect();
        }
        state.transport = Some(transport);
        state.is_attached = true;
        state.changed_at = self.context.now_millis();
        Some(self.send_queue().attach())
    }

    fn disable_reconnect(&self, state: &mut TransportState) {
        state.stateful_reconnect = false;
        *lock(&self.received) = None;
        self.send_queue().disable_reconnect();
    }

    /// Detaches a transport, unless another one has attached since. Ends the session where
    /// it cannot be attached again.
    pub fn detach(&self, attachment: Attachment) {
        if !self.send_queue().is_attached(attachment) {
            return;
        }
        let mut state = lock(&self.transport_state);
        state.is_attached = false;
        state.changed_at = self.context.now_millis();
        let may_return = state.transport == Some(Transport::LongPolling)
            || (state.stateful_reconnect && state.handshake_done && !self.send_queue().is_closed());
        drop(state);
        if !may_return {
            self.end();
        }
    }

    /// Parses and processes received bytes. Not cancel safe: the result of an invocation
    /// would never be sent. Spawn it.
    ///
    /// # Errors
    /// Where no further input may be processed. The connection is then closing.
    pub async fn receive(self: &Arc<Self>, bytes: &[u8]) -> Result<(), SessionClosed> {
        self.timestamps
            .received
            .store(self.context.now_millis(), Ordering::Relaxed);
        let mut input = self.input.lock().await;
        match &mut *input {
            Input::AfterHandshake(parser) => parser.feed(bytes),
            Input::BeforeHandshake(handshake) => match handshake.feed(bytes) {
                Ok(None) => return Ok(()),
                Ok(Some(request)) => {
                    *input = Input::AfterHandshake(self.complete_handshake(&request));
                }
                Err(error) => {
                    self.send_queue().fail_handshake(error.response());
                    return Err(SessionClosed);
                }
            },
        }
        let Input::AfterHandshake(parser) = &mut *input else {
            return Ok(());
        };
        loop {
            match parser.next_message() {
                Ok(Some(message)) => self.process(message).await?,
                Ok(None) => return Ok(()),
                Err(error) => {
                    tracing::debug!(%error, "a client sent an invalid message");
                    return Err(self.close_with_error("Connection closed with an error."));
                }
            }
        }
    }

    fn complete_handshake(&self, request: &HandshakeRequest) -> Parser {
        let mut state = lock(&self.transport_state);
        state.handshake_done = true;
        if !request.supports_acks {
            self.disable_reconnect(&mut state);
        }
        self.send_queue()
            .start(request.protocol, request.response());
        let mut parser = Parser::new(request.protocol, self.context.config.max_message_size);
        parser.feed(&request.remainder);
        parser
    }

    fn close_with_error(&self, error: &str) -> SessionClosed {
        self.send_queue().close(Close {
            error: Some(error.to_owned()),
            allow_reconnect: false,
        });
        SessionClosed
    }

    async fn process(self: &Arc<Self>, message: Message) -> Result<(), SessionClosed> {
        if let Some(received) = &mut *lock(&self.received)
            && !received.should_process(&message)
        {
            return Ok(());
        }
        match message {
            Message::Invocation {
                invocation_id,
                target,
                arguments,
                stream_ids,
            } => {
                self.invoke(invocation_id, target, arguments, &stream_ids)
                    .await;
            }
            Message::StreamInvocation {
                invocation_id,
                target,
                arguments,
                stream_ids,
            } => {
                self.start_stream(invocation_id, target, arguments, &stream_ids)
                    .await;
            }
            Message::CancelInvocation { invocation_id } => {
                let mut streams = lock(&self.streams);
                if let Some(task) = streams.remove(&invocation_id) {
                    task.abort();
                    self.complete(invocation_id, CompletionResult::Void);
                }
            }
            Message::Ack { sequence_id } => self.send_queue().acknowledge(sequence_id),
            Message::Sequence { sequence_id } => {
                let mut received = lock(&self.received);
                let reset = received.as_mut().map(|it| it.reset(sequence_id));
                drop(received);
                if let Some(Err(error)) = reset {
                    return Err(self.close_with_error(error));
                }
            }
            Message::Close { .. } => {
                self.send_queue().close(Close {
                    error: None,
                    allow_reconnect: false,
                });
                return Err(SessionClosed);
            }
            // The server invokes nothing that clients answer.
            Message::Ping | Message::StreamItem { .. } | Message::Completion { .. } => {}
        }
        Ok(())
    }

    fn complete(&self, invocation_id: String, result: CompletionResult) {
        self.send(Message::Completion {
            invocation_id,
            result,
        });
    }

    /// Returns false where the connection is closed or closing.
    fn send(&self, message: Message) -> bool {
        self.send_queue()
            .send(OutboundMessage::from_message(message, None))
    }

    /// Records that something was sent just now.
    pub fn mark_sent(&self) {
        self.timestamps
            .sent
            .store(self.context.now_millis(), Ordering::Relaxed);
    }

    /// Ends the session at once. Idempotent.
    pub fn end(&self) {
        if self.ended.swap(true, Ordering::SeqCst) {
            return;
        }
        for (_, task) in lock(&self.streams).drain() {
            task.abort();
        }
        self.send_queue().abort();
        self.context.session_ended(&self.connection_token);
        self.context.hub.on_disconnected(&self.caller.connection);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
