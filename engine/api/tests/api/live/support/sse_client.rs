use serde_json::Value;

use super::socket_client::TIMEOUT;
use crate::client::Client;

/// A client of server-sent events.
pub struct SseClient {
    response: reqwest::Response,
    text: String,
}

/// An event, as an EventSource would get it.
#[derive(Debug, Clone, PartialEq)]
pub struct SseEvent {
    /// The event type: `message` for an event of the journal.
    pub name: String,
    pub id: Option<String>,
    pub data: Value,
}

impl SseClient {
    /// Opens a stream, with a `Last-Event-ID` where one is given. Panics if it is rejected.
    pub async fn open(client: &Client, path: &str, last_event_id: Option<&str>) -> Self {
        let url = format!("{}{path}", client.base);
        let mut request = reqwest::Client::new().get(url);
        if let Some(token) = client.token() {
            request = request.bearer_auth(token);
        }
        if let Some(last_event_id) = last_event_id {
            request = request.header("last-event-id", last_event_id);
        }
        let response = request.header("accept", "text/event-stream").send();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let text = String::new();
        Self { response, text }
    }

    /// The next event, without comments. `None` if the stream has ended.
    pub async fn event(&mut self) -> Option<SseEvent> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (SseEvent::parse(block), rest.to_owned());
                self.text = rest;
                if event.is_some() {
                    return event;
                }
            }
            let chunk = tokio::time::timeout(TIMEOUT, self.response.chunk());
            let chunk = chunk.await.expect("an event in time").ok()??;
            self.text += std::str::from_utf8(&chunk).unwrap();
        }
    }

    /// All events up to the end of the stream.
    pub async fn until_closed(mut self) -> Vec<SseEvent> {
        let mut events = Vec::new();
        while let Some(event) = self.event().await {
            events.push(event);
        }
        events
    }
}

impl SseEvent {
    /// `None` for a comment.
    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        Some(Self {
            name: field("event").unwrap_or("message").to_owned(),
            id: field("id").map(str::to_owned),
            data: serde_json::from_str(field("data")?).unwrap(),
        })
    }
}
