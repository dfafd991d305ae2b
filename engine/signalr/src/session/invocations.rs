//! Runs the invocations and streams of a client and sends their results.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use serde_json::Value;

use super::{Session, lock};
use crate::hub::{Hub, HubError, Invocation, Reply, StreamItems};
use crate::protocol::{CompletionResult, Message};

impl<H: Hub> Session<H> {
    pub(super) async fn invoke(
        &self,
        invocation_id: Option<String>,
        method: String,
        arguments: Vec<Value>,
        stream_ids: &[String],
    ) {
        let name = method.clone();
        let invocation = Invocation { method, arguments };
        let reply = match reject_client_streams(stream_ids) {
            Ok(()) => {
                self.run(self.context.hub.invoke(&self.caller, invocation))
                    .await
            }
            Err(error) => Err(error),
        };
        let (result, follow_up) = match reply {
            Ok(Reply { value, follow_up }) => (CompletionResult::Value(value), follow_up),
            Err(error) => (CompletionResult::Error(error.completion_error(&name)), None),
        };
        if let Some(invocation_id) = invocation_id {
            self.complete(invocation_id, result);
        }
        if let Some(follow_up) = follow_up {
            follow_up();
        }
    }

    pub(super) async fn start_stream(
        self: &Arc<Self>,
        invocation_id: String,
        method: String,
        arguments: Vec<Value>,
        stream_ids: &[String],
    ) {
        if let Err(error) = self.check_new_stream(&invocation_id, &method) {
            return self.complete(invocation_id, CompletionResult::Error(error));
        }
        let name = method.clone();
        let invocation = Invocation { method, arguments };
        let items = match reject_client_streams(stream_ids) {
            Ok(()) => {
                self.run(self.context.hub.stream(&self.caller, invocation))
                    .await
            }
            Err(error) => Err(error),
        };
        match items {
            Err(error) => {
                let error = error.completion_error(&name);
                self.complete(invocation_id, CompletionResult::Error(error));
            }
            Ok(items) => {
                let session = Arc::clone(self);
                // Locked until the task is inserted: the task looks itself up here.
                let mut streams = lock(&self.streams);
                let key = invocation_id.clone();
                let task = tokio::spawn(async move {
                    session.send_items(invocation_id, &name, items).await;
                });
                streams.insert(key, task.abort_handle());
            }
        }
    }

    /// # Errors
    /// The text of the Completion, where the id is in use or there are too many streams.
    fn check_new_stream(&self, invocation_id: &str, method: &str) -> Result<(), String> {
        let streams = lock(&self.streams);
        if streams.contains_key(invocation_id) {
            return Err(format!(
                "Invocation ID '{invocation_id}' is already in use."
            ));
        }
        let count = streams.len();
        if count >= self.context.config.max_streams {
            let text = format!("this connection has {count} streams open: cancel one first");
            return Err(HubError::Exception(text).completion_error(method));
        }
        Ok(())
    }

    /// Sends the items of a stream, no faster than the client reads them.
    async fn send_items(&self, invocation_id: String, method: &str, items: StreamItems) {
        let mut items = AssertUnwindSafe(items);
        let result = loop {
            let item = match AssertUnwindSafe(items.next()).catch_unwind().await {
                Ok(Some(Ok(item))) => item,
                Ok(Some(Err(error))) => {
                    break CompletionResult::Error(error.completion_error(method));
                }
                Ok(None) => break CompletionResult::Void,
                Err(_) => {
                    break CompletionResult::Error(HubError::Internal.completion_error(method));
                }
            };
            self.send_queue().wait_for_space().await;
            // Locked while sending: no item may follow the Completion of a cancelled stream.
            let streams = lock(&self.streams);
            let invocation_id = invocation_id.clone();
            if !streams.contains_key(&invocation_id)
                || !self.send(Message::StreamItem {
                    invocation_id,
                    item,
                })
            {
                return;
            }
        };
        let mut streams = lock(&self.streams);
        if streams.remove(&invocation_id).is_some() {
            self.complete(invocation_id, result);
        }
    }

    /// Runs a method of the hub. A panic or a time-out becomes an error.
    async fn run<T>(
        &self,
        method: impl Future<Output = Result<T, HubError>>,
    ) -> Result<T, HubError> {
        let timeout = self.context.config.invocation_timeout;
        let method = tokio::time::timeout(timeout, AssertUnwindSafe(method).catch_unwind());
        match method.await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(HubError::Internal),
            Err(_) => {
                let seconds = timeout.as_secs();
                Err(HubError::Exception(format!("no answer within {seconds} s")))
            }
        }
    }
}

fn reject_client_streams(stream_ids: &[String]) -> Result<(), HubError> {
    if stream_ids.is_empty() {
        return Ok(());
    }
    let text = "client-to-server streams are not supported: send arguments instead";
    Err(HubError::Exception(text.to_owned()))
}
