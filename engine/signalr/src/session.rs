//! One connection, whatever carries it: who it is, what it said, what it is still owed.

mod calls;
mod tending;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use crate::event::Event;
use crate::handshake::{Agreed, Handshake};
use crate::hub::{Caller, Hub, Peer};
use crate::line::{Close, Line};
use crate::message::{Message, Outcome};
use crate::protocol::Parser;
use crate::replay::Received;
use crate::service::Shared;

/// See the module.
pub(crate) struct Session<H: Hub> {
    pub shared: Arc<Shared<H>>,
    pub token: String,
    /// Whose the connection is: only their requests are taken for it.
    pub owner: String,
    pub caller: Caller<H::User>,
    pub times: Times,
    state: Mutex<State>,
    inbox: tokio::sync::Mutex<Inbox>,
    received: Mutex<Option<Received>>,
    streams: Mutex<HashMap<String, AbortHandle>>,
    ended: AtomicBool,
}

/// When things last happened, in milliseconds since the service began.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub created: u64,
    pub heard: AtomicU64,
    pub sent: AtomicU64,
    /// When its token expires; `u64::MAX` for never.
    pub expires: AtomicU64,
    /// Since when it has been closing; 0 for not.
    pub closing: AtomicU64,
}

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    ServerSentEvents,
    LongPolling,
}

/// How a connection is carried just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub transport: Option<Transport>,
    /// Whether something carries it at this moment.
    pub carried: bool,
    /// Since when, or since when not.
    pub since: u64,
    pub agreed: bool,
    /// Whether another WebSocket may take it up.
    pub stateful: bool,
}

enum Inbox {
    Before(Handshake),
    After(Parser),
}

/// The connection cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken;

impl<H: Hub> Session<H> {
    pub fn new(
        shared: Arc<Shared<H>>,
        (token, owner): (String, String),
        user: H::User,
        line: Line,
        expires: u64,
        stateful: bool,
    ) -> Self {
        let now = shared.now();
        let caller = Caller {
            user: Arc::new(user),
            peer: Peer(Arc::new(line)),
        };
        Self {
            shared,
            token,
            owner,
            caller,
            times: Times {
                created: now,
                heard: now.into(),
                sent: now.into(),
                expires: expires.into(),
                closing: 0.into(),
            },
            state: Mutex::new(State {
                transport: None,
                carried: false,
                since: now,
                agreed: false,
                stateful,
            }),
            inbox: tokio::sync::Mutex::new(Inbox::Before(Handshake::default())),
            received: Mutex::new(stateful.then(Received::new)),
            streams: Mutex::new(HashMap::new()),
            ended: AtomicBool::new(false),
        }
    }

    pub fn line(&self) -> &Line {
        &self.caller.peer.0
    }

    pub fn state(&self) -> State {
        *lock(&self.state)
    }

    /// Has `transport` carry it from now on. False where it may not: another one does, or
    /// did before.
    pub fn carry(&self, transport: Transport) -> Option<u64> {
        let mut state = lock(&self.state);
        let first = state.transport.is_none();
        let again = state.transport == Some(transport)
            && match transport {
                Transport::WebSocket => state.stateful && state.agreed,
                Transport::ServerSentEvents => false,
                Transport::LongPolling => true,
            };
        if !first && !again {
            return None;
        }
        if transport != Transport::WebSocket {
            self.forget(&mut state);
        } else if !first && let Some(received) = &mut *lock(&self.received) {
            received.reconnected();
        }
        state.transport = Some(transport);
        state.carried = true;
        state.since = self.shared.now();
        Some(self.line().carry())
    }

    fn forget(&self, state: &mut State) {
        state.stateful = false;
        *lock(&self.received) = None;
        self.line().forget();
    }

    /// Nothing carries it any more. Where it may be taken up again it waits for that, and
    /// else it ends.
    pub fn dropped(&self, carrier: u64) {
        if !self.line().is_carried_by(carrier) {
            return;
        }
        let mut state = lock(&self.state);
        state.carried = false;
        state.since = self.shared.now();
        let waits = state.transport == Some(Transport::LongPolling)
            || (state.stateful && state.agreed && !self.line().is_closed());
        drop(state);
        if !waits {
            self.end();
        }
    }

    /// Takes what the client sent, and acts on it. Not to be cancelled: what a call came
    /// to would never be told. Spawn it.
    ///
    /// # Errors
    /// Where the connection cannot go on; it has been told to close.
    pub async fn receive(self: &Arc<Self>, bytes: &[u8]) -> Result<(), Broken> {
        self.times.heard.store(self.shared.now(), Ordering::Relaxed);
        let mut inbox = self.inbox.lock().await;
        match &mut *inbox {
            Inbox::After(parser) => parser.feed(bytes),
            Inbox::Before(handshake) => match handshake.feed(bytes) {
                Ok(None) => return Ok(()),
                Ok(Some(agreed)) => *inbox = Inbox::After(self.agree(&agreed)),
                Err(disagreed) => {
                    self.line().refuse(disagreed.record());
                    return Err(Broken);
                }
            },
        }
        let Inbox::After(parser) = &mut *inbox else {
            return Ok(());
        };
        loop {
            match parser.take() {
                Ok(Some(message)) => self.act(message).await?,
                Ok(None) => return Ok(()),
                Err(error) => {
                    tracing::debug!(%error, "a client sent what is no record");
                    return Err(self.broken("Connection closed with an error."));
                }
            }
        }
    }

    fn agree(&self, agreed: &Agreed) -> Parser {
        let mut state = lock(&self.state);
        state.agreed = true;
        if !agreed.counts {
            self.forget(&mut state);
        }
        self.line().speak(agreed.protocol, Handshake::agreed());
        let mut parser = Parser::new(agreed.protocol, self.shared.config.record);
        parser.feed(&agreed.rest);
        parser
    }

    fn broken(&self, why: &str) -> Broken {
        self.line().close(Close {
            error: Some(why.to_owned()),
            allow_reconnect: false,
        });
        Broken
    }

    async fn act(self: &Arc<Self>, message: Message) -> Result<(), Broken> {
        if let Some(received) = &mut *lock(&self.received)
            && !received.is_new(&message)
        {
            return Ok(());
        }
        match message {
            Message::Invocation {
                id,
                target,
                arguments,
                streams,
            } => self.invoke(id, target, arguments, &streams).await,
            Message::StreamInvocation {
                id,
                target,
                arguments,
                streams,
            } => self.stream(id, target, arguments, &streams).await,
            Message::CancelInvocation { id } => {
                let mut streams = lock(&self.streams);
                if let Some(task) = streams.remove(&id) {
                    task.abort();
                    self.complete(id, Outcome::Void);
                }
            }
            Message::Ack { sequence } => self.line().confirmed(sequence),
            Message::Sequence { sequence } => {
                let mut received = lock(&self.received);
                let begun = received.as_mut().map(|it| it.begins_at(sequence));
                drop(received);
                if let Some(Err(why)) = begun {
                    return Err(self.broken(why));
                }
            }
            Message::Close { .. } => {
                self.line().close(Close {
                    error: None,
                    allow_reconnect: false,
                });
                return Err(Broken);
            }
            // Nothing is asked of clients, so they have nothing to answer.
            Message::Ping | Message::StreamItem { .. } | Message::Completion { .. } => {}
        }
        Ok(())
    }

    fn complete(&self, id: String, outcome: Outcome) {
        self.tell(Message::Completion { id, outcome });
    }

    fn tell(&self, message: Message) -> bool {
        self.line().send(Event::of(message, None))
    }

    /// Something was sent just now.
    pub fn sent(&self) {
        self.times.sent.store(self.shared.now(), Ordering::Relaxed);
    }

    /// Nothing more happens to it. Safe to call again.
    pub fn end(&self) {
        if self.ended.swap(true, Ordering::SeqCst) {
            return;
        }
        for (_, task) in lock(&self.streams).drain() {
            task.abort();
        }
        self.line().cut();
        self.shared.forget(&self.token);
        self.shared.hub.disconnected(&self.caller.peer);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
