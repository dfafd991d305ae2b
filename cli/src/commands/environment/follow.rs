//! `hotswap environment events --follow`.

use std::time::Duration;

use anyhow::Result;
use hotswap_common::Backoff;
use hotswap_core::Environment;
use serde::Deserialize as _;
use serde_json::Value;

use super::{Context, line};
use crate::client::{EnvironmentEventRow, Error, Interruption};
use crate::exit::Exit;
use crate::format::sanitize;
use crate::output::print_message;

/// The engine sends a comment every 15 seconds: without one for this long, the connection is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// Delays between attempts to connect again.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(200);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(10);

/// How far the events of an environment were printed.
struct Follower<'a> {
    name: &'a Environment,
    limit: u16,
    context: &'a Context,
    /// The id of the last event, or of the place in the journal that the engine named.
    last_id: Option<String>,
    has_answered: bool,
}

/// Prints the last events of an environment, the oldest first, and those that follow. Connects
/// again where the connection breaks, and goes on where it broke. Never returns without an error.
pub(super) async fn follow(name: &Environment, limit: u16, context: &Context) -> Result<Exit> {
    let mut follower = Follower {
        name,
        limit,
        context,
        last_id: None,
        has_answered: false,
    };
    let mut backoff = Backoff::new(MIN_RETRY_DELAY, MAX_RETRY_DELAY);
    let mut is_lost = false;
    loop {
        let before = follower.last_id.clone();
        let error = match follower.follow_connection().await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        let cause = error.downcast_ref::<Error>();
        let may_retry = |error: &Error| follower.has_answered && error.is_transient_of_engine();
        if !cause.is_some_and(may_retry) {
            return Err(error);
        }
        if follower.last_id != before {
            backoff.reset();
            is_lost = false;
        }
        if !is_lost {
            print_message(&format!("reconnecting: {}", sanitize(&error.to_string())));
            is_lost = true;
        }
        backoff.wait().await;
    }
}

/// There is no value of this type.
enum Never {}

impl Follower<'_> {
    async fn follow_connection(&mut self) -> Result<Never> {
        let client = &self.context.client;
        let stream = client.environment_stream(self.name, self.limit, self.last_id.as_deref());
        let mut stream = self.unless_silent(stream).await?;
        self.has_answered = true;
        loop {
            for event in self.unless_silent(stream.next_events()).await? {
                match event.kind.as_str() {
                    "" | "message" => {
                        let json = serde_json::from_slice::<Value>(&event.data);
                        let json = json.map_err(|source| stream.unexpected(source))?;
                        self.print(&json)?;
                    }
                    "reset" => print_message(
                        "events may be missing: the engine has deleted them, or has another store; \
                         starting over",
                    ),
                    // `live`, and what later versions may send.
                    _ => {}
                }
                self.last_id = event.id;
            }
        }
    }

    fn print(&self, json: &Value) -> Result<()> {
        let out = self.context.out;
        if out.json {
            return out.json_line(json);
        }
        out.line(&line(&EnvironmentEventRow::deserialize(json)?))
    }

    async fn unless_silent<T>(
        &self,
        response: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(SILENCE, response).await {
            Ok(result) => result,
            Err(_) => Err(self.context.client.stream_interrupted(Interruption::Silent)),
        }
    }
}
