use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use poem::http::{Method, StatusCode};
use poem::{Body, Request, Response};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::hub::Hub;
use crate::negotiate::{NegotiateError, NegotiateQuery, NegotiateResponse, negotiate_version};
use crate::principal::Principal;
use crate::random_token::random_token;
use crate::rejection::Rejection;
use crate::response;
use crate::send_queue::Close;
use crate::session::{Session, Transport};
use crate::sessions::Sessions;
use crate::transport::{WebSocketUpgrade, long_polling, server_sent_events, websocket};

/// The interval of [`Session::on_tick`]. Acknowledgements are due once a second, and
/// everything else less often.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// Serves one hub. Cheap to clone. Dropping the last clone ends all connections.
pub struct Service<H: Hub> {
    sessions: Arc<Sessions<H>>,
    _ticker: Arc<tokio_util::sync::DropGuard>,
}

#[derive(Debug, Default, Deserialize)]
struct ConnectQuery {
    id: Option<String>,
}

impl<H: Hub> Service<H> {
    /// Starts serving. Call this within a Tokio runtime.
    pub fn new(hub: Arc<H>, config: Config) -> Self {
        let sessions = Arc::new(Sessions::new(hub, config));
        let stop = CancellationToken::new();
        tokio::spawn(run_ticks(Arc::clone(&sessions), stop.clone()));
        Self {
            sessions,
            _ticker: Arc::new(stop.drop_guard()),
        }
    }

    /// The hub.
    pub fn hub(&self) -> &Arc<H> {
        &self.sessions.context.hub
    }

    /// The current number of connections.
    pub fn connections(&self) -> usize {
        self.sessions.registry().sessions.len()
    }

    /// Handles `POST {hub}/negotiate`, the first request of a client.
    ///
    /// # Errors
    /// Where a limit on connections is reached, the service is shutting down, or the query
    /// string is invalid.
    pub fn negotiate(
        &self,
        request: &Request,
        principal: Principal<H::User>,
    ) -> Result<Response, Rejection> {
        let query: NegotiateQuery = request.params().map_err(|_| Rejection::InvalidQuery)?;
        let version = match negotiate_version(query.negotiate_version.as_deref()) {
            Ok(version) => version,
            Err(error) => return Ok(response::json(&NegotiateError { error })),
        };
        let stateful_reconnect = query.use_stateful_reconnect.as_deref() == Some("true");
        let session = self.sessions.create(principal, stateful_reconnect)?;
        let connection_id = if version == 0 {
            session.connection_token.clone()
        } else {
            random_token()
        };
        Ok(response::json(&NegotiateResponse::new(
            version,
            connection_id,
            &session.connection_token,
            stateful_reconnect,
        )))
    }

    /// Handles requests on the hub's own path: GET connects a transport, POST carries the
    /// messages of clients without a WebSocket, DELETE ends long polling.
    ///
    /// # Errors
    /// Where the request matches no connection, or the connection does not allow it.
    pub async fn connect(
        &self,
        request: &Request,
        body: Body,
        principal: Principal<H::User>,
    ) -> Result<Response, Rejection> {
        let ConnectQuery { id } = request.params().map_err(|_| Rejection::InvalidQuery)?;
        let find_session = |id: Option<String>| {
            let id = id.ok_or(Rejection::MissingConnectionId)?;
            self.sessions.find(&id, &principal)
        };
        match *request.method() {
            Method::GET if WebSocketUpgrade::is_requested(request) => {
                let session = match id {
                    None => self.sessions.create(principal, false)?,
                    Some(_) => find_session(id)?,
                };
                websocket::accept(&session, request)
            }
            Method::GET if server_sent_events::is_requested(request) => {
                server_sent_events::accept(find_session(id)?)
            }
            Method::GET => long_polling::poll(find_session(id)?).await,
            Method::POST => self.receive(find_session(id)?, body).await,
            Method::DELETE => {
                let session = find_session(id)?;
                if session.transport_state().transport != Some(Transport::LongPolling) {
                    return Err(Rejection::NotLongPolling);
                }
                session.end();
                Ok(response::empty(StatusCode::ACCEPTED))
            }
            _ => Err(Rejection::MethodNotAllowed),
        }
    }

    /// Handles a POST. It may come before the first poll: what it causes is then sent with
    /// the second.
    async fn receive(&self, session: Arc<Session<H>>, body: Body) -> Result<Response, Rejection> {
        if session.transport_state().transport == Some(Transport::WebSocket) {
            return Err(Rejection::PostToWebSocket);
        }
        // A client may put several messages into one request.
        let max_bytes = 2 * self.sessions.context.config.max_message_size;
        let bytes = body.into_bytes_limit(max_bytes).await;
        let bytes = bytes.map_err(|_| Rejection::BodyTooLarge { max_bytes })?;
        // On a task of its own: it has to finish even if the client drops the request.
        let task = tokio::spawn(async move { session.receive(&bytes).await });
        drop(task.await);
        Ok(response::empty(StatusCode::OK))
    }

    /// Rejects new connections, asks all clients to reconnect, and waits until the
    /// connections have ended. Ends those that remain after `grace`.
    pub async fn shutdown(&self, grace: Duration) {
        let sessions = {
            let mut registry = self.sessions.registry();
            registry.shutting_down = true;
            registry.all()
        };
        for session in &sessions {
            session.send_queue().close(Close {
                error: None,
                allow_reconnect: true,
            });
        }
        self.sessions.context.tasks.close();
        let all_closed = async {
            for session in &sessions {
                if session.transport_state().is_attached {
                    session.send_queue().wait_until_closed().await;
                }
            }
            self.sessions.context.tasks.wait().await;
        };
        if tokio::time::timeout(grace, all_closed).await.is_err() {
            tracing::debug!(?grace, "connections did not end within the grace period");
        }
        for session in sessions {
            session.end();
        }
    }
}

impl<H: Hub> Clone for Service<H> {
    fn clone(&self) -> Self {
        Self {
            sessions: Arc::clone(&self.sessions),
            _ticker: Arc::clone(&self._ticker),
        }
    }
}

/// Calls [`Session::on_tick`] on all sessions until the service is dropped, then ends them.
async fn run_ticks<H: Hub>(sessions: Arc<Sessions<H>>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(TICK_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let sessions = sessions.registry().all();
        for session in sessions {
            // Nobody would notice the end of this task: no session would be kept alive or ended.
            if catch_unwind(AssertUnwindSafe(|| session.on_tick())).is_err() {
                tracing::error!("the tick of a session panicked, which is a bug: please report it");
                session.end();
            }
        }
    }
    let sessions = sessions.registry().all();
    for session in sessions {
        session.end();
    }
}
