use std::collections::VecDeque;

use futures_util::SinkExt;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite::Message;

use super::manual_deployment::ManualDeployment;
use super::socket_client::SocketClient;
use crate::client::Client;

pub const DEPLOYMENTS: &str = "/hubs/deployments";
pub const METRICS: &str = "/hubs/metrics";
pub const SUBSCRIBE: &str = "SubscribeToDeployment";
pub const SUBSCRIBE_TO_ALL: &str = "SubscribeToAllDeployments";
pub const STREAM: &str = "StreamDeployment";
pub const STARTED: &str = "DeploymentStarted";
pub const STATUS: &str = "DeploymentStatusChanged";
pub const PROGRESS: &str = "DeploymentProgress";
pub const NODES: &str = "NodeChanged";
pub const APPROVAL: &str = "ApprovalRequested";
pub const COMPLETED: &str = "DeploymentCompleted";
pub const FAILED: &str = "DeploymentFailed";
/// Ends each message.
const RECORD_SEPARATOR: char = '\u{1e}';

/// A minimal client of a hub: JSON over a WebSocket.
pub struct HubClient {
    socket: SocketClient,
    /// Received messages that have not been read.
    messages: VecDeque<Value>,
    /// Events that came before an answer and have not been read.
    events: VecDeque<HubEvent>,
    last_invocation: u64,
}

/// An event, as a handler of a SignalR client would get it.
#[derive(Debug, Clone, PartialEq)]
pub struct HubEvent {
    pub target: String,
    pub argument: Value,
}

impl HubClient {
    /// Connects without negotiation and completes the handshake.
    pub async fn connect(client: &Client, hub: &str) -> Self {
        Self::connect_over(TcpSocket::new_v4().unwrap(), client, hub).await
    }

    /// The same over this socket.
    pub async fn connect_over(socket: TcpSocket, client: &Client, path: &str) -> Self {
        let mut hub = Self::new(SocketClient::open_over(socket, client, path).await);
        hub.send(&json!({"protocol": "json", "version": 1})).await;
        assert_eq!(hub.message().await, Ok(json!({})));
        hub
    }

    /// Negotiates and connects, as the official clients do.
    pub async fn connect_negotiated(client: &Client, hub: &str) -> Self {
        let offer = negotiate(client, hub, "negotiateVersion=1").await;
        let token = offer["connectionToken"].as_str().unwrap();
        Self::connect(client, &format!("{hub}?id={token}")).await
    }

    /// Connects and subscribes to a deployment.
    pub async fn subscribed(client: &Client, deployment: &ManualDeployment) -> Self {
        let mut hub = Self::connect(client, DEPLOYMENTS).await;
        let answer = hub.invoke(SUBSCRIBE, deployment.arguments()).await;
        answer.unwrap();
        hub
    }

    /// Connects and subscribes to all deployments.
    pub async fn subscribed_to_all(client: &Client) -> Self {
        let mut hub = Self::connect(client, DEPLOYMENTS).await;
        hub.invoke(SUBSCRIBE_TO_ALL, json!([])).await.unwrap();
        hub
    }

    /// A client on an open socket, before the handshake.
    pub fn new(socket: SocketClient) -> Self {
        Self {
            socket,
            messages: VecDeque::new(),
            events: VecDeque::new(),
            last_invocation: 0,
        }
    }

    pub async fn send(&mut self, message: &Value) {
        let text = format!("{message}{RECORD_SEPARATOR}");
        self.socket.0.send(Message::text(text)).await.unwrap();
    }

    /// The next message that is not a ping, or the code of the close frame.
    pub async fn message(&mut self) -> Result<Value, Option<u16>> {
        loop {
            while let Some(message) = self.messages.pop_front() {
                if message["type"] != 6 {
                    return Ok(message);
                }
            }
            let text = self.socket.text().await?;
            let text = text
                .strip_suffix(RECORD_SEPARATOR)
                .expect("complete messages");
            let messages = text.split(RECORD_SEPARATOR).map(serde_json::from_str);
            self.messages.extend(messages.map(Result::unwrap));
        }
    }

    /// The first message that matches. Keeps the events before it.
    async fn find_message(&mut self, matches: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.message().await.expect("an answer");
            if matches(&message) {
                return message;
            }
            self.events.push_back(HubEvent::from_message(&message));
        }
    }

    /// Invokes a method. Returns the result or the error of the Completion.
    pub async fn invoke(&mut self, method: &str, arguments: Value) -> Result<Value, String> {
        let id = self.send_invocation(1, method, arguments).await;
        let is_completion = |it: &Value| it["type"] == 3 && it["invocationId"] == *id;
        let mut completion = self.find_message(is_completion).await;
        match completion["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(completion["result"].take()),
        }
    }

    /// Invokes a method that answers with a stream. Returns the invocation id.
    pub async fn stream(&mut self, method: &str, arguments: Value) -> String {
        self.send_invocation(4, method, arguments).await
    }

    async fn send_invocation(&mut self, kind: u8, method: &str, arguments: Value) -> String {
        self.last_invocation += 1;
        let id = self.last_invocation.to_string();
        let invocation = json!({
            "type": kind,
            "invocationId": id,
            "target": method,
            "arguments": arguments,
        });
        self.send(&invocation).await;
        id
    }

    /// The next item of a stream. `None` once it has completed.
    pub async fn item(&mut self, id: &str) -> Option<HubEvent> {
        let of_stream = |message: &Value| message["invocationId"] == *id;
        let message = self.find_message(of_stream).await;
        match message["type"].as_u64() {
            Some(2) => Some(HubEvent {
                target: message["item"]["target"].as_str().unwrap().to_owned(),
                argument: message["item"]["argument"].clone(),
            }),
            Some(3) if message.get("error").is_none() => None,
            _ => panic!("{message}"),
        }
    }

    /// The next event.
    pub async fn event(&mut self) -> HubEvent {
        match self.events.pop_front() {
            Some(event) => event,
            None => HubEvent::from_message(&self.message().await.expect("an event")),
        }
    }

    /// The next `count` events.
    pub async fn events(&mut self, count: usize) -> Vec<HubEvent> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            events.push(self.event().await);
        }
        events
    }

    /// All events up to the next one with this target.
    pub async fn events_until(&mut self, target: &str) -> Vec<HubEvent> {
        let mut events = vec![self.event().await];
        while events.last().is_none_or(|last| last.target != target) {
            events.push(self.event().await);
        }
        events
    }

    /// The events that came before the last answer.
    pub fn take_events(&mut self) -> Vec<HubEvent> {
        self.events.drain(..).collect()
    }

    /// Asserts that there are no unread events: all events so far come before the answer to
    /// this invocation.
    pub async fn assert_no_events(&mut self) {
        let error = self.invoke("Nothing", json!([])).await.unwrap_err();
        assert_eq!(error, "Unknown hub method 'Nothing'");
        assert_eq!(self.events, []);
    }

    /// The events up to the Close message, that message, and the code of the close frame.
    pub async fn until_closed(mut self) -> (Vec<HubEvent>, Value, Option<u16>) {
        let close = self.find_message(|message| message["type"] == 7).await;
        let code = self.message().await;
        let code = code.expect_err("Close is the last message");
        (self.events.into(), close, code)
    }
}

impl HubEvent {
    fn from_message(message: &Value) -> Self {
        assert_eq!(message["type"], 1, "not an event: {message}");
        let arguments = message["arguments"].as_array().unwrap();
        assert_eq!(arguments.len(), 1, "{message}");
        Self {
            target: message["target"].as_str().unwrap().to_owned(),
            argument: arguments[0].clone(),
        }
    }

    pub fn offset(&self) -> &str {
        self.argument["offset"].as_str().unwrap()
    }

    /// The position to resume after this event.
    pub fn position(&self) -> Value {
        position(&self.argument)
    }
}

/// The position in a subscription or an event.
pub fn position(argument: &Value) -> Value {
    json!({"epoch": argument["epoch"], "offset": argument["offset"]})
}

/// The response to a negotiation with this query string.
pub async fn negotiate(client: &Client, hub: &str, query: &str) -> Value {
    let path = format!("{hub}/negotiate?{query}");
    client.send(Method::POST, &path, |it| it).await.ok()
}
