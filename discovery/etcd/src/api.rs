//! The client of etcd's JSON gateway.

use hotswap_sdk::Span;
use hotswap_sdk::discovery::{
    Base64, Context, Document, Endpoints, Error, GatewayFailure, GatewayLine, Int64, KeyValueStore,
    Method, Response, Session, Waited, follow,
};
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use crate::wire::{KeyValue, LeaseAnswer, RangeAnswer, TokenAnswer, WatchAnswer};

/// Where credentials become a token.
pub const AUTHENTICATE: &str = "/v3/auth/authenticate";

/// The codes of gRPC with which etcd says that it wants a user.
const INVALID_ARGUMENT: i64 = 3;
const FAILED_PRECONDITION: i64 = 9;

/// How versions of etcd say that users or roles have changed since a token was given.
const OLD_REVISION: [&str; 2] = ["revision of auth store is old", "revision in header is old"];

/// Sends requests to the member that answered last, then to the others in turn.
pub struct Client {
    endpoints: Endpoints,
    username: String,
    session: Session,
}

/// The keys with a prefix.
pub struct List {
    /// The revision of the store that they are from.
    pub revision: i64,
    /// Each with its value.
    pub entries: Vec<(String, Vec<u8>)>,
}

impl Client {
    pub fn new(endpoints: Endpoints, username: String) -> Self {
        Self {
            endpoints,
            username,
            session: Session::default(),
        }
    }

    /// The keys with a prefix.
    pub fn list(&mut self, context: &Context, prefix: &str) -> Result<List, Error> {
        let body = json!({ "key": Base64::of(prefix), "range_end": Base64::end_of(prefix) });
        let answer: RangeAnswer = self.ask(context, "/v3/kv/range", &body)?;
        let text = |entry: KeyValue| match String::from_utf8(entry.key.0) {
            Ok(key) if key.starts_with(prefix) => Ok((key, entry.value.0)),
            _ => Err(Error::Protocol(
                "etcd answered a key that was not asked for".to_owned(),
            )),
        };
        let entries: Result<_, _> = answer.kvs.into_iter().map(text).collect();
        Ok(List {
            revision: answer.header.revision.0,
            entries: entries?,
        })
    }

    /// Waits until a key with the prefix has changed after a revision.
    pub fn wait_for_change(
        &mut self,
        context: &Context,
        prefix: &str,
        revision: i64,
        patience: Span,
    ) -> Result<Waited, Error> {
        let body = json!({ "create_request": {
            "key": Base64::of(prefix),
            "range_end": Base64::end_of(prefix),
            "start_revision": Int64(revision.saturating_add(1)),
        } });
        let answer = self.send(context, "/v3/watch", &body, patience)?;
        let waited = follow(
            context,
            answer,
            patience,
            |line: GatewayLine<WatchAnswer>| {
                let answer = line
                    .result()
                    .map_err(|failure| explain(&failure, &self.username))?;
                let answer = answer
                    .ok_or_else(|| Error::Protocol("a line of the watch is empty".to_owned()))?;
                // The store is older than what we have seen: it was restored.
                let went_back = answer.created && answer.header.revision.0 < revision;
                let is_compacted = answer.canceled && answer.compact_revision.0 > 0;
                if went_back || is_compacted || !answer.events.is_empty() {
                    return Ok(Some(Waited::Changed));
                }
                if !answer.canceled {
                    return Ok(None);
                }
                // The wording changes between versions. The next call is told what is wrong.
                let reason = answer.cancel_reason;
                let text = format!("etcd cancelled the watch: {reason}");
                Err(match reason.contains("permission") {
                    true => Error::Denied(text),
                    false => Error::Unavailable(text),
                })
            },
        );
        if waited.is_err() {
            // It may be the token that is no longer valid.
            self.session.forget();
        }
        waited
    }

    fn ask<T: DeserializeOwned>(
        &mut self,
        context: &Context,
        path: &str,
        body: &Json,
    ) -> Result<T, Error> {
        self.send(context, path, body, Span::ZERO)?.json()
    }

    /// Sends a request whose answer may take this long, with a token where there is a user.
    fn send(
        &mut self,
        context: &Context,
        path: &str,
        body: &Json,
        patience: Span,
    ) -> Result<Response, Error> {
        let username = &*self.username;
        let send = |endpoints: &mut Endpoints, token: Option<&str>| {
            let answer = endpoints.ask(context, Method::Post, path, |request| {
                let request = request.json(body).streams_for(patience);
                match token {
                    // Without `Bearer`, which 3.4 does not understand.
                    Some(token) => request.header("authorization", token),
                    None => request,
                }
            })?;
            GatewayFailure::check(answer, |failure| explain(failure, username))
        };
        if username.is_empty() {
            return send(&mut self.endpoints, None);
        }
        self.session.call(
            &mut self.endpoints,
            |endpoints| log_in(endpoints, context, username),
            |endpoints, token| send(endpoints, Some(token)),
        )
    }
}

impl KeyValueStore for Client {
    type Lease = i64;

    fn grant(&mut self, context: &Context, ttl: Span) -> Result<i64, Error> {
        // Whole seconds, at least two: etcd rounds up what is less.
        let seconds = ttl.as_millis().div_ceil(1000).max(2);
        let body = json!({ "TTL": seconds.to_string() });
        let lease: LeaseAnswer = self.ask(context, "/v3/lease/grant", &body)?;
        match lease.id.0 {
            // What is put with it would stay for ever.
            0 => Err(Error::Protocol(
                "etcd granted a lease without an id".to_owned(),
            )),
            id => Ok(id),
        }
    }

    fn keep_alive(&mut self, context: &Context, lease: &i64) -> Result<(), Error> {
        let body = json!({ "ID": Int64(*lease) });
        let line: GatewayLine<LeaseAnswer> = self.ask(context, "/v3/lease/keepalive", &body)?;
        let lease = line.result().map_err(|failure| {
            let error = explain(&failure, &self.username);
            if matches!(error, Error::Denied(_)) {
                // It may be the token that is no longer valid.
                self.session.forget();
            }
            error
        })?;
        // A lease that has expired is answered, too, without a time.
        match lease {
            Some(lease) if lease.ttl.0 > 0 => Ok(()),
            _ => Err(Error::NotFound),
        }
    }

    fn revoke(&mut self, context: &Context, lease: &i64) -> Result<(), Error> {
        let body = json!({ "ID": Int64(*lease) });
        self.ask::<Json>(context, "/v3/lease/revoke", &body)
            .map(drop)
    }

    fn put(
        &mut self,
        context: &Context,
        key: &str,
        value: &Document,
        lease: Option<&i64>,
    ) -> Result<(), Error> {
        let value = serde_json::to_string(value).unwrap_or_default();
        let mut body = json!({ "key": Base64::of(key), "value": Base64::of(&value) });
        if let Some(lease) = lease {
            body["lease"] = json!(Int64(*lease));
        }
        self.ask::<Json>(context, "/v3/kv/put", &body).map(drop)
    }

    fn has(&mut self, context: &Context, key: &str) -> Result<bool, Error> {
        let body = json!({ "key": Base64::of(key), "keys_only": true });
        let answer: RangeAnswer = self.ask(context, "/v3/kv/range", &body)?;
        Ok(!answer.kvs.is_empty())
    }

    fn delete(&mut self, context: &Context, key: &str) -> Result<(), Error> {
        let body = json!({ "key": Base64::of(key) });
        self.ask::<Json>(context, "/v3/kv/deleterange", &body)
            .map(drop)
    }
}

/// A token for a user.
fn log_in(endpoints: &mut Endpoints, context: &Context, username: &str) -> Result<String, Error> {
    // The engine puts the password in.
    let body = json!({ "name": username, "password": "${secret.password}" });
    let answer = endpoints.ask(context, Method::Post, AUTHENTICATE, |it| it.json(&body))?;
    let refused = |failure: &GatewayFailure| {
        let text = failure.text();
        match failure.to_error("etcd") {
            down @ Error::Unavailable(_) => down,
            _ => Error::Denied(format!(
                "etcd does not accept the user '{username}': {text}"
            )),
        }
    };
    let answer: TokenAnswer = GatewayFailure::check(answer, refused)?.json()?;
    Ok(answer.token)
}

/// What etcd says, where it wants a user that the settings do not name.
fn explain(failure: &GatewayFailure, username: &str) -> Error {
    let text = failure.text();
    match failure.code {
        INVALID_ARGUMENT | FAILED_PRECONDITION
            if username.is_empty() && text.contains("user name") =>
        {
            Error::Denied(format!(
                "etcd answered: {text}; set username and the secret password"
            ))
        }
        // A token in the form of a JWT is valid for the users and roles of its time only. Who logs in
        // again gets one for those of now. Until 3.5 etcd has no code for this.
        _ if OLD_REVISION.iter().any(|part| text.contains(part)) => {
            Error::Denied(format!("etcd answered: {text}"))
        }
        _ => failure.to_error("etcd"),
    }
}
