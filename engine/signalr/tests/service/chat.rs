use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use hotswap_signalr::{
    Caller, Config, ConnectionHandle, Hub, HubError, Invocation, OutboundMessage, Principal,
    Rejection, Reply, Service, StreamItems,
};
use poem::http::Method;
use poem::{Body, Request, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

/// A hub with one method for each way an invocation can end.
#[derive(Default)]
pub struct Chat {
    pub connections: Mutex<Vec<ConnectionHandle>>,
    pub disconnected: Mutex<Vec<u64>>,
}

impl Hub for Chat {
    type User = String;

    async fn invoke(
        &self,
        caller: &Caller<String>,
        mut invocation: Invocation,
    ) -> Result<Reply, HubError> {
        match invocation.method.as_str() {
            "Join" => {
                let connection = caller.connection.clone();
                self.connections.lock().unwrap().push(connection.clone());
                Ok(Reply::with_follow_up(json!("welcome"), move || {
                    connection.send(&OutboundMessage::new("Said", json!("after the reply")));
                }))
            }
            "Echo" => {
                invocation.expect_at_most(1)?;
                let text: String = invocation.argument(0)?;
                Ok(json!(format!("{}: {text}", caller.user)).into())
            }
            "Hang" => std::future::pending().await,
            "Panic" => panic!("the hub is broken"),
            "Forbidden" => Err(HubError::Unauthorized),
            _ => Err(HubError::UnknownMethod),
        }
    }

    async fn stream(
        &self,
        _: &Caller<String>,
        mut invocation: Invocation,
    ) -> Result<StreamItems, HubError> {
        match invocation.method.as_str() {
            "Count" => {
                let to: u64 = invocation.argument(0)?;
                Ok(futures_util::stream::iter(1..=to)
                    .map(|it| Ok(json!(it)))
                    .boxed())
            }
            "Never" => Ok(futures_util::stream::pending().boxed()),
            "Fail" => {
                let items = [Ok(json!(1)), Err(HubError::Exception("no more".to_owned()))];
                Ok(futures_util::stream::iter(items).boxed())
            }
            _ => Err(HubError::UnknownMethod),
        }
    }

    fn on_disconnected(&self, connection: &ConnectionHandle) {
        self.disconnected.lock().unwrap().push(connection.id());
    }
}

/// A service with a [`Chat`] hub. Call this within a runtime.
pub fn service(config: Config) -> Service<Chat> {
    Service::new(Arc::new(Chat::default()), config)
}

pub fn principal(user: &str, expires_in: Option<Duration>) -> Principal<String> {
    Principal {
        user: user.to_owned(),
        user_id: user.to_owned(),
        expires_at: expires_in.map(|after| Instant::now() + after),
    }
}

/// A client of one user, over long polling or server-sent events.
pub struct Client {
    pub service: Service<Chat>,
    pub user: &'static str,
    pub connection_token: String,
    pub expires_in: Option<Duration>,
}

impl Client {
    /// Negotiates for `ada`.
    pub async fn negotiate(service: &Service<Chat>) -> Self {
        Self::negotiate_as(service, "ada", None).await.unwrap()
    }

    pub async fn negotiate_as(
        service: &Service<Chat>,
        user: &'static str,
        expires_in: Option<Duration>,
    ) -> Result<Self, Rejection> {
        let request = Request::builder()
            .method(Method::POST)
            .uri_str("/hub/negotiate?negotiateVersion=1")
            .finish();
        let response = service.negotiate(&request, principal(user, expires_in))?;
        let response: Value = response.into_body().into_json().await.unwrap();
        Ok(Self {
            service: service.clone(),
            user,
            connection_token: response["connectionToken"].as_str().unwrap().to_owned(),
            expires_in,
        })
    }

    /// Makes a request on the connection.
    pub async fn request(
        &self,
        method: Method,
        accept: &str,
        body: impl Into<Body>,
    ) -> Result<Response, Rejection> {
        let request = Request::builder()
            .method(method)
            .uri_str(format!("/hub?id={}", self.connection_token))
            .header("accept", accept)
            .finish();
        let principal = principal(self.user, self.expires_in);
        self.service.connect(&request, body.into(), principal).await
    }

    /// Posts messages.
    pub async fn send(&self, messages: &[Value]) {
        let text: String = messages.iter().map(|it| format!("{it}\u{1e}")).collect();
        let sent = self.request(Method::POST, "*/*", text).await;
        assert_eq!(sent.unwrap().status(), 200);
    }

    /// Polls once. Returns the status and the messages.
    pub async fn poll(&self) -> (u16, Vec<Value>) {
        let response = self.request(Method::GET, "*/*", "").await.unwrap();
        let status = response.status().as_u16();
        (
            status,
            parse(&response.into_body().into_string().await.unwrap()),
        )
    }

    /// Starts polling and completes the handshake for JSON.
    pub async fn handshaken(self) -> Self {
        assert_eq!(
            self.poll().await,
            (200, vec![]),
            "the first poll only confirms the connection"
        );
        self.send(&[json!({"protocol": "json", "version": 1})])
            .await;
        assert_eq!(self.poll().await, (200, vec![json!({})]));
        self
    }

    /// Invokes a method and polls once. Returns all messages of the poll.
    pub async fn invoke(&self, target: &str, arguments: Value) -> Vec<Value> {
        self.send(&[json!({
            "type": 1, "invocationId": "c", "target": target, "arguments": arguments,
        })])
        .await;
        self.poll().await.1
    }
}

/// The messages of a response body.
pub fn parse(text: &str) -> Vec<Value> {
    let messages = text.split_terminator('\u{1e}');
    messages
        .map(|it| serde_json::from_str(it).unwrap())
        .collect()
}
