use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem::http::{Method, StatusCode, header};
use poem::{Body, Request, Response};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::hub::Hub;
use crate::line::{Close, Line};
use crate::negotiate;
use crate::refusal::Refusal;
use crate::registry::Registry;
use crate::replay::Replay;
use crate::session::{Session, Transport};
use crate::transport::{long_polling, server_sent_events, websocket};
use crate::upgrade::Upgrade;

/// How often each connection is looked at for what is due: confirmations are due each
/// second, and nothing sooner.
const TICK: Duration = Duration::from_secs(1);
/// A token's random bytes: as many as a UUID has bits that cannot be guessed, and some.
const TOKEN_BYTES: usize = 18;

/// Serves one hub. Cheap to clone; the connections end when the last is dropped.
pub struct Service<H: Hub> {
    shared: Arc<Shared<H>>,
    _tending: Arc<tokio_util::sync::DropGuard>,
}

/// Who asks to connect, as the application found out.
#[derive(Debug)]
pub struct Guest<U> {
    /// What the hub is given of them.
    pub user: U,
    /// The same for the same user: their connections are counted together, and nobody else
    /// can speak on one.
    pub owner: String,
    /// When the connection has to end.
    pub expires: Option<Instant>,
}

/// What the connections of a service have in common.
pub(crate) struct Shared<H: Hub> {
    pub hub: Arc<H>,
    pub config: Config,
    pub tasks: TaskTracker,
    began: Instant,
    registry: Mutex<Registry<H>>,
}

#[derive(Debug, Default, Deserialize)]
struct Query {
    id: Option<String>,
}

impl<H: Hub> Service<H> {
    /// Begins to serve. Must be called within a runtime.
    pub fn new(hub: Arc<H>, config: Config) -> Self {
        let shared = Arc::new(Shared {
            hub,
            config,
            tasks: TaskTracker::new(),
            began: Instant::now(),
            registry: Mutex::new(Registry::new()),
        });
        let stop = CancellationToken::new();
        tokio::spawn(tend(Arc::downgrade(&shared), stop.clone()));
        Self {
            shared,
            _tending: Arc::new(stop.drop_guard()),
        }
    }

    /// The hub.
    pub fn hub(&self) -> &Arc<H> {
        &self.shared.hub
    }

    /// Connections at this moment.
    pub fn connections(&self) -> usize {
        self.shared.lock().sessions.len()
    }

    /// Answers `POST {hub}/negotiate`: what a client asks first.
    ///
    /// # Errors
    /// Where there is no room for another connection, or the query makes no sense.
    pub fn negotiate(&self, request: &Request, guest: Guest<H::User>) -> Result<Response, Refusal> {
        let asked: negotiate::Query = request.params().map_err(|_| Refusal::Query)?;
        let version = match negotiate::version(asked.negotiate_version.as_deref()) {
            Ok(version) => version,
            Err(error) => return Ok(json(&negotiate::Declined { error })),
        };
        let stateful = asked.use_stateful_reconnect.as_deref() == Some("true");
        let session = self.shared.begin(guest, stateful)?;
        let public = if version == 0 {
            session.token.clone()
        } else {
            word()
        };
        Ok(json(&negotiate::Offer::new(
            version,
            public,
            &session.token,
            stateful,
        )))
    }

    /// Answers everything on the hub's own path: GET for each transport, POST for what a
    /// client says where it has no WebSocket, DELETE for the end of its polling.
    ///
    /// # Errors
    /// Where the request fits no connection.
    pub async fn connect(
        &self,
        request: &Request,
        body: Body,
        guest: Guest<H::User>,
    ) -> Result<Response, Refusal> {
        let Query { id } = request.params().map_err(|_| Refusal::Query)?;
        match *request.method() {
            Method::GET if Upgrade::is_asked(request) => {
                let session = match id {
                    None => self.shared.begin(guest, false)?,
                    Some(id) => self.shared.find(&id, &guest)?,
                };
                websocket::accept(&session, request)
            }
            Method::GET if server_sent_events::is_asked(request) => {
                let session = self.shared.find(&id.ok_or(Refusal::NoId)?, &guest)?;
                server_sent_events::accept(session)
            }
            Method::GET => {
                let session = self.shared.find(&id.ok_or(Refusal::NoId)?, &guest)?;
                long_polling::poll(&session).await
            }
            Method::POST => {
                let session = self.shared.find(&id.ok_or(Refusal::NoId)?, &guest)?;
                // Before the first poll as well: what it leads to waits for one.
                if session.state().transport == Some(Transport::WebSocket) {
                    return Err(Refusal::NotPosted);
                }
                // A client may put some records together.
                let most = 2 * self.shared.config.record;
                let sent = body.into_bytes_limit(most).await;
                let sent = sent.map_err(|_| Refusal::TooLarge { most })?;
                // What was begun is ended, whatever becomes of the request.
                let receiving = tokio::spawn(async move { session.receive(&sent).await });
                drop(receiving.await);
                Ok(empty(StatusCode::OK))
            }
            Method::DELETE => {
                let session = self.shared.find(&id.ok_or(Refusal::NoId)?, &guest)?;
                if session.state().transport != Some(Transport::LongPolling) {
                    return Err(Refusal::OnlyPolling);
                }
                session.end();
                Ok(empty(StatusCode::ACCEPTED))
            }
            _ => Err(Refusal::Method),
        }
    }

    /// Takes no more connections, tells each that there is, and waits until all have ended,
    /// at most so long. The clients come back by themselves.
    pub async fn shutdown(&self, grace: Duration) {
        let sessions = {
            let mut registry = self.shared.lock();
            registry.closing = true;
            registry.all()
        };
        for session in &sessions {
            session.line().close(Close {
                error: None,
                allow_reconnect: true,
            });
        }
        self.shared.tasks.close();
        let parted = async {
            for session in sessions.iter().filter(|session| session.state().carried) {
                session.line().parted().await;
            }
            self.shared.tasks.wait().await;
        };
        if tokio::time::timeout(grace, parted).await.is_err() {
            tracing::debug!("connections that did not end were cut");
        }
        for session in sessions {
            session.end();
        }
    }
}

impl<H: Hub> Clone for Service<H> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            _tending: Arc::clone(&self._tending),
        }
    }
}

impl<H: Hub> Shared<H> {
    /// Milliseconds since the service began, and one: 0 stands for never.
    pub fn now(&self) -> u64 {
        self.millis(Instant::now())
    }

    fn millis(&self, at: Instant) -> u64 {
        let millis = at.saturating_duration_since(self.began).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn lock(&self) -> MutexGuard<'_, Registry<H>> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(
        self: &Arc<Self>,
        guest: Guest<H::User>,
        stateful: bool,
    ) -> Result<Arc<Session<H>>, Refusal> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let line = Line::new(
            NUMBERS.fetch_add(1, Ordering::Relaxed),
            self.config.capacity,
            stateful.then(Replay::default),
        );
        let Guest {
            user,
            owner,
            expires,
        } = guest;
        let expires = expires.map_or(u64::MAX, |at| self.millis(at));
        let names = (word(), owner);
        let shared = Arc::clone(self);
        let session = Arc::new(Session::new(shared, names, user, line, expires, stateful));
        self.lock().add(&session, &self.config)?;
        Ok(session)
    }

    fn find(&self, token: &str, guest: &Guest<H::User>) -> Result<Arc<Session<H>>, Refusal> {
        let registry = self.lock();
        let session = registry.sessions.get(token).ok_or(Refusal::Unknown)?;
        if session.owner != guest.owner {
            // Whoever has another's id has no right to know that it is one.
            return Err(Refusal::Unknown);
        }
        // A fresh token prolongs it.
        let expires = guest.expires.map_or(u64::MAX, |at| self.millis(at));
        session.times.expires.fetch_max(expires, Ordering::Relaxed);
        Ok(Arc::clone(session))
    }

    pub fn forget(&self, token: &str) {
        self.lock().remove(token);
    }
}

/// Looks after what is due by the clock, for as long as the service is there.
async fn tend<H: Hub>(shared: Weak<Shared<H>>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let sessions = shared.lock().all();
        for session in sessions {
            session.tend();
        }
    }
    if let Some(shared) = shared.upgrade() {
        let sessions = shared.lock().all();
        for session in sessions {
            session.end();
        }
    }
}

/// A word that nobody guesses.
fn word() -> String {
    let mut bytes = [0; TOKEN_BYTES];
    // Without randomness there is no telling connections apart: nothing can be served.
    getrandom::fill(&mut bytes).expect("the operating system has randomness");
    URL_SAFE_NO_PAD.encode(bytes)
}

fn json(value: &impl serde::Serialize) -> Response {
    let text = serde_json::to_vec(value).unwrap_or_default();
    Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CACHE_CONTROL, "no-store")
        .body(text)
}

pub(crate) fn empty(status: StatusCode) -> Response {
    Response::builder()
        .status(status)
        .header(header::CACHE_CONTROL, "no-cache, no-store")
        .finish()
}
