use serde_json::Value;

use super::socket::PATIENCE;
use crate::client::Client;

/// A reader of `text/event-stream`.
pub struct Sse {
    response: reqwest::Response,
    text: String,
}

/// What an EventSource would be given.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// `message` for an event of the journal.
    pub name: String,
    pub id: Option<String>,
    pub data: Value,
}

impl Sse {
    /// Asks for the path, after `last` where that is given. It must be let in.
    pub async fn open(client: &Client, path: &str, last: Option<&str>) -> Self {
        let url = format!("{}{path}", client.base);
        let mut request = reqwest::Client::new().get(url);
        if let Some(token) = client.token() {
            request = request.bearer_auth(token);
        }
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.header("accept", "text/event-stream").send();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let text = String::new();
        Self { response, text }
    }

    /// The next block, comments aside; none where the stream has ended.
    pub async fn block(&mut self) -> Option<Block> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (Block::of(block), rest.to_owned());
                self.text = rest;
                if block.is_some() {
                    return block;
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk());
            let chunk = chunk.await.expect("something in time").ok()??;
            self.text += std::str::from_utf8(&chunk).unwrap();
        }
    }

    /// All blocks up to the end of the stream.
    pub async fn rest(mut self) -> Vec<Block> {
        let mut blocks = Vec::new();
        while let Some(block) = self.block().await {
            blocks.push(block);
        }
        blocks
    }
}

impl Block {
    fn of(text: &str) -> Option<Self> {
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
