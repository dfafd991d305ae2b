//! One connection, whatever carries it: who it is, what it said, what it is still owed.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{FutureExt, StreamExt};
use tokio::task::AbortHandle;

use crate::event::Event;
use crate::handshake::{Agreed, Handshake};
use crate::hub::{Call, Caller, Hub, HubError, Items, Peer, Reply};
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

    async fn invoke(
        &self,
        id: Option<String>,
        method: String,
        arguments: Vec<serde_json::Value>,
        streams: &[String],
    ) {
        let name = method.clone();
        let call = Call { method, arguments };
        let answer = match refuse_streams(streams) {
            Ok(()) => {
                self.bounded(self.shared.hub.invoke(&self.caller, call))
                    .await
            }
            Err(error) => Err(error),
        };
        let (outcome, then) = match answer {
            Ok(Reply { value, then }) => (Outcome::Value(value), then),
            Err(error) => (Outcome::Error(error.text(&name)), None),
        };
        if let Some(id) = id {
            self.complete(id, outcome);
        }
        if let Some(then) = then {
            then();
        }
    }

    async fn stream(
        self: &Arc<Self>,
        id: String,
        method: String,
        arguments: Vec<serde_json::Value>,
        streams: &[String],
    ) {
        let open = {
            let streams = lock(&self.streams);
            (streams.contains_key(&id), streams.len())
        };
        let most = self.shared.config.streams;
        let refused = match open {
            (true, _) => Some(format!("Invocation ID '{id}' is already in use.")),
            (_, count) if count >= most => {
                let text = format!("this connection has {count} streams open: cancel one first");
                Some(HubError::Told(text).text(&method))
            }
            _ => None,
        };
        if let Some(text) = refused {
            return self.complete(id, Outcome::Error(text));
        }
        let name = method.clone();
        let call = Call { method, arguments };
        let items = match refuse_streams(streams) {
            Ok(()) => {
                self.bounded(self.shared.hub.stream(&self.caller, call))
                    .await
            }
            Err(error) => Err(error),
        };
        match items {
            Err(error) => self.complete(id, Outcome::Error(error.text(&name))),
            Ok(items) => {
                let session = Arc::clone(self);
                // Held while it begins: it looks itself up here.
                let mut streams = lock(&self.streams);
                let key = id.clone();
                let task = tokio::spawn(async move { session.pump(id, &name, items).await });
                streams.insert(key, task.abort_handle());
            }
        }
    }

    /// Sends the items of a stream, no faster than the client takes them.
    async fn pump(&self, id: String, method: &str, items: Items) {
        let mut items = AssertUnwindSafe(items);
        let outcome = loop {
            let item = match AssertUnwindSafe(items.next()).catch_unwind().await {
                Ok(Some(Ok(item))) => item,
                Ok(Some(Err(error))) => break Outcome::Error(error.text(method)),
                Ok(None) => break Outcome::Void,
                Err(_) => break Outcome::Error(HubError::Failed.text(method)),
            };
            self.line().room().await;
            // Nothing may follow the completion of a stream that was cancelled.
            let streams = lock(&self.streams);
            let id = id.clone();
            if !streams.contains_key(&id) || !self.tell(Message::StreamItem { id, item }) {
                return;
            }
        };
        let mut streams = lock(&self.streams);
        if streams.remove(&id).is_some() {
            self.complete(id, outcome);
        }
    }

    /// What a call came to, whatever it does.
    async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<T, HubError>>,
    ) -> Result<T, HubError> {
        let patience = self.shared.config.call_timeout;
        let call = tokio::time::timeout(patience, AssertUnwindSafe(call).catch_unwind());
        match call.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(HubError::Failed),
            Err(_) => {
                let seconds = patience.as_secs();
                Err(HubError::Told(format!("no answer within {seconds} s")))
            }
        }
    }

    fn complete(&self, id: String, outcome: Outcome) {
        self.tell(Message::Completion { id, outcome });
    }

    fn tell(&self, message: Message) -> bool {
        self.line().send(Event::of(message, None))
    }

    /// What is due by the clock alone: pings, confirmations, and ends. False where it has
    /// ended.
    pub fn tend(&self) -> bool {
        let (config, now) = (&self.shared.config, self.shared.now());
        let state = self.state();
        let after = |since: u64, time: std::time::Duration| {
            u128::from(now.saturating_sub(since)) >= time.as_millis()
        };
        if self.line().is_closed() {
            // The client has been given time to hear why.
            let _ =
                self.times
                    .closing
                    .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
            let since = self.times.closing.load(Ordering::Relaxed);
            let taken = !state.carried && state.transport != Some(Transport::LongPolling);
            if taken || after(since, config.send_timeout) {
                self.end();
                return false;
            }
            return true;
        }
        if now >= self.times.expires.load(Ordering::Relaxed) {
            // Back at once: the client asks for a fresh token when it connects again.
            self.line().close(Close {
                error: Some("The token has expired.".to_owned()),
                allow_reconnect: true,
            });
            return true;
        }
        if !state.agreed {
            if after(self.times.created, config.handshake_timeout) {
                self.end();
                return false;
            }
            return true;
        }
        let heard = self.times.heard.load(Ordering::Relaxed).max(state.since);
        // A poll that waits is as good as a ping.
        let polling = state.transport == Some(Transport::LongPolling) && state.carried;
        if !polling && after(heard, config.client_timeout) {
            if state.carried {
                self.line().close(Close {
                    error: Some("Nothing was heard of the client for too long.".to_owned()),
                    allow_reconnect: true,
                });
            } else {
                self.end();
                return false;
            }
            return true;
        }
        if let Some(sequence) = lock(&self.received).as_mut().and_then(Received::news) {
            self.tell(Message::Ack { sequence });
        }
        let sent = self.times.sent.load(Ordering::Relaxed);
        let silent = state.transport != Some(Transport::LongPolling);
        if silent && state.carried && after(sent, config.keep_alive) {
            self.sent();
            self.tell(Message::Ping);
        }
        true
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

fn refuse_streams(streams: &[String]) -> Result<(), HubError> {
    if streams.is_empty() {
        return Ok(());
    }
    let text = "methods here take no streams: give arguments instead";
    Err(HubError::Told(text.to_owned()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
