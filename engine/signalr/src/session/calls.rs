//! What a client calls, and what is told of it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use serde_json::Value;

use super::{Session, lock};
use crate::hub::{Call, Hub, HubError, Items, Reply};
use crate::message::{Message, Outcome};

impl<H: Hub> Session<H> {
    pub(super) async fn invoke(
        &self,
        id: Option<String>,
        method: String,
        arguments: Vec<Value>,
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

    pub(super) async fn stream(
        self: &Arc<Self>,
        id: String,
        method: String,
        arguments: Vec<Value>,
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
}

fn refuse_streams(streams: &[String]) -> Result<(), HubError> {
    if streams.is_empty() {
        return Ok(());
    }
    let text = "methods here take no streams: give arguments instead";
    Err(HubError::Told(text.to_owned()))
}
