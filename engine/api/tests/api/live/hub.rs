use std::collections::VecDeque;

use futures_util::SinkExt;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite::Message;

use super::socket::Socket;
use super::written::Written;
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
/// Ends each record.
const END: char = '\u{1e}';

/// A client of a hub, as small as can be: JSON over a WebSocket.
pub struct Hub {
    socket: Socket,
    records: VecDeque<Value>,
    told: VecDeque<Told>,
    calls: u64,
}

/// What a handler would be given.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub target: String,
    pub argument: Value,
}

impl Hub {
    /// Connects without negotiation, and shakes hands.
    pub async fn connect(client: &Client, hub: &str) -> Self {
        Self::over(TcpSocket::new_v4().unwrap(), client, hub).await
    }

    /// The same over this socket.
    pub async fn over(socket: TcpSocket, client: &Client, path: &str) -> Self {
        let mut hub = Self::of(Socket::over(socket, client, path).await);
        hub.say(&json!({"protocol": "json", "version": 1})).await;
        assert_eq!(hub.record().await, Ok(json!({})));
        hub
    }

    /// Negotiates before, as the official clients do.
    pub async fn negotiated(client: &Client, hub: &str) -> Self {
        let offer = negotiate(client, hub, "negotiateVersion=1").await;
        let token = offer["connectionToken"].as_str().unwrap();
        Self::connect(client, &format!("{hub}?id={token}")).await
    }

    /// Connects, and subscribes to a deployment.
    pub async fn subscribed(client: &Client, deployment: &Written) -> Self {
        let mut hub = Self::connect(client, DEPLOYMENTS).await;
        let answer = hub.call(SUBSCRIBE, deployment.argument()).await;
        answer.unwrap();
        hub
    }

    /// Connects, and subscribes to all deployments.
    pub async fn subscribed_to_all(client: &Client) -> Self {
        let mut hub = Self::connect(client, DEPLOYMENTS).await;
        hub.call(SUBSCRIBE_TO_ALL, json!([])).await.unwrap();
        hub
    }

    /// Over a socket on which nothing was said yet.
    pub fn of(socket: Socket) -> Self {
        Self {
            socket,
            records: VecDeque::new(),
            told: VecDeque::new(),
            calls: 0,
        }
    }

    pub async fn say(&mut self, record: &Value) {
        let text = format!("{record}{END}");
        self.socket.0.send(Message::text(text)).await.unwrap();
    }

    /// The next record, pings aside; or how the socket was closed.
    pub async fn record(&mut self) -> Result<Value, Option<u16>> {
        loop {
            while let Some(record) = self.records.pop_front() {
                if record["type"] != 6 {
                    return Ok(record);
                }
            }
            let text = self.socket.text().await?;
            let whole = text.strip_suffix(END).expect("whole records");
            let records = whole.split(END).map(serde_json::from_str);
            self.records.extend(records.map(Result::unwrap));
        }
    }

    /// The record that answers; what is told before it is kept.
    async fn answer(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let record = self.record().await.expect("an answer");
            if is_it(&record) {
                return record;
            }
            self.told.push_back(Told::of(&record));
        }
    }

    /// Calls a method: what it answers, or what it says went wrong.
    pub async fn call(&mut self, method: &str, arguments: Value) -> Result<Value, String> {
        let id = self.begin(1, method, arguments).await;
        let mut record = self
            .answer(|record| record["type"] == 3 && record["invocationId"] == *id)
            .await;
        match record["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(record["result"].take()),
        }
    }

    /// Calls a method that answers with a stream, which has the id that is returned.
    pub async fn stream(&mut self, method: &str, arguments: Value) -> String {
        self.begin(4, method, arguments).await
    }

    async fn begin(&mut self, kind: u8, method: &str, arguments: Value) -> String {
        self.calls += 1;
        let id = self.calls.to_string();
        let call = json!({
            "type": kind,
            "invocationId": id,
            "target": method,
            "arguments": arguments,
        });
        self.say(&call).await;
        id
    }

    /// The next item of a stream; none once it has completed.
    pub async fn item(&mut self, id: &str) -> Option<Told> {
        let of = |record: &Value| record["invocationId"] == *id;
        let record = self.answer(of).await;
        match record["type"].as_u64() {
            Some(2) => Some(Told {
                target: record["item"]["target"].as_str().unwrap().to_owned(),
                argument: record["item"]["argument"].clone(),
            }),
            Some(3) if record.get("error").is_none() => None,
            _ => panic!("{record}"),
        }
    }

    /// The next event.
    pub async fn event(&mut self) -> Told {
        match self.told.pop_front() {
            Some(told) => told,
            None => Told::of(&self.record().await.expect("an event")),
        }
    }

    /// The next events, so many.
    pub async fn events(&mut self, count: usize) -> Vec<Told> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            events.push(self.event().await);
        }
        events
    }

    /// All events up to one of this target.
    pub async fn until(&mut self, target: &str) -> Vec<Told> {
        let mut events = vec![self.event().await];
        while events.last().is_none_or(|last| last.target != target) {
            events.push(self.event().await);
        }
        events
    }

    /// What came before the last answer.
    pub fn drain(&mut self) -> Vec<Told> {
        self.told.drain(..).collect()
    }

    /// Makes sure that nothing has been told that was not read: whatever was told before
    /// comes before the answer to this.
    pub async fn hears_nothing(&mut self) {
        let refused = self.call("Nothing", json!([])).await.unwrap_err();
        assert_eq!(refused, "Unknown hub method 'Nothing'");
        assert_eq!(self.told, []);
    }

    /// All events up to the record that closes the connection, that record, and the code
    /// with which the socket is closed then.
    pub async fn rest(mut self) -> (Vec<Told>, Value, Option<u16>) {
        let close = self.answer(|record| record["type"] == 7).await;
        let code = self.record().await.expect_err("a close is the last record");
        (self.told.into(), close, code)
    }
}

impl Told {
    fn of(record: &Value) -> Self {
        assert_eq!(record["type"], 1, "no event: {record}");
        let arguments = record["arguments"].as_array().unwrap();
        assert_eq!(arguments.len(), 1, "{record}");
        Self {
            target: record["target"].as_str().unwrap().to_owned(),
            argument: arguments[0].clone(),
        }
    }

    pub fn offset(&self) -> &str {
        self.argument["offset"].as_str().unwrap()
    }

    /// Where to resume after it.
    pub fn position(&self) -> Value {
        position(&self.argument)
    }
}

/// The epoch and the offset of a subscription or an event.
pub fn position(of: &Value) -> Value {
    json!({"epoch": of["epoch"], "offset": of["offset"]})
}

/// What a hub offers to this query.
pub async fn negotiate(client: &Client, hub: &str, query: &str) -> Value {
    let path = format!("{hub}/negotiate?{query}");
    client.send(Method::POST, &path, |it| it).await.ok()
}
