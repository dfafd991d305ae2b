use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use hotswap_signalr::{
    Call, Caller, Config, Event, Guest, Hub, HubError, Items, Peer, Refusal, Reply, Service,
};
use poem::http::Method;
use poem::{Body, Request, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

/// A hub with a method for each way in which a call can go.
#[derive(Default)]
pub struct Chat {
    pub peers: Mutex<Vec<Peer>>,
    pub gone: Mutex<Vec<u64>>,
}

impl Hub for Chat {
    type User = String;

    async fn invoke(&self, caller: &Caller<String>, mut call: Call) -> Result<Reply, HubError> {
        match call.method.as_str() {
            "Join" => {
                let peer = caller.peer.clone();
                self.peers.lock().unwrap().push(peer.clone());
                // The answer comes before what follows from it.
                Ok(Reply::then(json!("welcome"), move || {
                    peer.send(&Event::new("Said", json!("after the answer")));
                }))
            }
            "Echo" => {
                call.at_most(1)?;
                let text: String = call.argument(0)?;
                Ok(json!(format!("{}: {text}", caller.user)).into())
            }
            "Hang" => std::future::pending().await,
            "Panic" => panic!("the hub is broken"),
            "Forbidden" => Err(HubError::Unauthorized),
            _ => Err(HubError::UnknownMethod),
        }
    }

    async fn stream(&self, _: &Caller<String>, mut call: Call) -> Result<Items, HubError> {
        match call.method.as_str() {
            "Count" => {
                let to: u64 = call.argument(0)?;
                Ok(futures_util::stream::iter(1..=to)
                    .map(|it| Ok(json!(it)))
                    .boxed())
            }
            "Never" => Ok(futures_util::stream::pending().boxed()),
            "Fail" => {
                let items = [Ok(json!(1)), Err(HubError::Told("no more".to_owned()))];
                Ok(futures_util::stream::iter(items).boxed())
            }
            _ => Err(HubError::UnknownMethod),
        }
    }

    fn disconnected(&self, peer: &Peer) {
        self.gone.lock().unwrap().push(peer.number());
    }
}

/// A service of it.
pub fn service(config: Config) -> Service<Chat> {
    Service::new(Arc::new(Chat::default()), config)
}

pub fn guest(owner: &str, expires: Option<Duration>) -> Guest<String> {
    Guest {
        user: owner.to_owned(),
        owner: owner.to_owned(),
        expires: expires.map(|after| Instant::now() + after),
    }
}

/// One user's client.
pub struct Client {
    pub service: Service<Chat>,
    pub owner: &'static str,
    pub id: String,
    pub expires: Option<Duration>,
}

impl Client {
    /// Negotiates for `ada`.
    pub async fn negotiate(service: &Service<Chat>) -> Self {
        Self::negotiate_as(service, "ada", None).await.unwrap()
    }

    pub async fn negotiate_as(
        service: &Service<Chat>,
        owner: &'static str,
        expires: Option<Duration>,
    ) -> Result<Self, Refusal> {
        let request = Request::builder()
            .method(Method::POST)
            .uri_str("/hub/negotiate?negotiateVersion=1")
            .finish();
        let offer = service.negotiate(&request, guest(owner, expires))?;
        let offer: Value = offer.into_body().into_json().await.unwrap();
        Ok(Self {
            service: service.clone(),
            owner,
            id: offer["connectionToken"].as_str().unwrap().to_owned(),
            expires,
        })
    }

    /// Makes a request on the connection.
    pub async fn request(
        &self,
        method: Method,
        accept: &str,
        body: impl Into<Body>,
    ) -> Result<Response, Refusal> {
        let request = Request::builder()
            .method(method)
            .uri_str(format!("/hub?id={}", self.id))
            .header("accept", accept)
            .finish();
        let guest = guest(self.owner, self.expires);
        self.service.connect(&request, body.into(), guest).await
    }

    /// Sends records.
    pub async fn say(&self, records: &[Value]) {
        let text: String = records.iter().map(|it| format!("{it}\u{1e}")).collect();
        let sent = self.request(Method::POST, "*/*", text).await;
        assert_eq!(sent.unwrap().status(), 200);
    }

    /// Polls once: the status, and the records.
    pub async fn poll(&self) -> (u16, Vec<Value>) {
        let polled = self.request(Method::GET, "*/*", "").await.unwrap();
        let status = polled.status().as_u16();
        (
            status,
            records(&polled.into_body().into_string().await.unwrap()),
        )
    }

    /// Begins to poll, and agrees on JSON.
    pub async fn greeted(self) -> Self {
        assert_eq!(
            self.poll().await,
            (200, vec![]),
            "the first says only that it stands"
        );
        self.say(&[json!({"protocol": "json", "version": 1})]).await;
        assert_eq!(self.poll().await, (200, vec![json!({})]));
        self
    }

    /// Calls a method and waits for its completion; what else came before it is returned too.
    pub async fn call(&self, target: &str, arguments: Value) -> Vec<Value> {
        self.say(&[json!({
            "type": 1, "invocationId": "c", "target": target, "arguments": arguments,
        })])
        .await;
        self.poll().await.1
    }
}

pub fn records(text: &str) -> Vec<Value> {
    let records = text.split_terminator('\u{1e}');
    records
        .map(|it| serde_json::from_str(it).unwrap())
        .collect()
}
