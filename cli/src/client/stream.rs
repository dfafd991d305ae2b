use hotswap_core::DeploymentId;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, StatusCode};

use super::error::{Break, Error};
use super::sse::{Decoder, LONGEST, Message};
use super::{Client, Recorded};

const EVENTS: &str = "text/event-stream";
const LAST_ID: &str = "last-event-id";

/// What the engine tells whoever follows a deployment.
#[derive(Debug)]
pub enum Told {
    /// The next event, and what to go on after it with.
    Event(Box<Recorded>, Option<String>),
    /// All that had happened has been told: what follows happens now.
    Live,
    /// The deployment has ended, and all of it has been told.
    End,
}

/// The events of a deployment as they happen, over one connection.
pub struct Stream {
    response: Response,
    decoder: Decoder,
    server: String,
    path: String,
}

impl Client {
    /// Begins to hear a deployment's events: from the first, or after the one that the
    /// engine called `last`. Nothing where there is nothing after that, and never will be.
    ///
    /// Not bounded in time, and neither is what it returns. Safe to cancel.
    pub async fn stream(
        &self,
        id: DeploymentId,
        last: Option<&str>,
    ) -> Result<Option<Stream>, Error> {
        let path = format!("/deployments/{id}/events");
        let mut request = self.request(Method::GET, &path).header(ACCEPT, EVENTS);
        // What cannot be sent back is no use: the engine then begins with the first.
        if let Some(last) = last.and_then(|last| HeaderValue::from_bytes(last.as_bytes()).ok()) {
            request = request.header(LAST_ID, last);
        }
        let server = self.server().to_owned();
        let lost = |source| Error::lost(&server, source);
        let response = request.send().await.map_err(lost)?;
        let status = response.status();
        if status == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(Self::refusal(status, response).await);
        }
        let path = response.url().path().to_owned();
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case(EVENTS) {
            let what = format!("'{kind}'");
            return Err(Error::NoEvents { path, what });
        }
        Ok(Some(Stream {
            response,
            decoder: Decoder::default(),
            server,
            path,
        }))
    }

    /// What was told stopped before its end.
    pub fn broke(&self, how: Break) -> Error {
        let server = self.server().to_owned();
        Error::Broke { server, how }
    }
}

impl Stream {
    /// What comes next, in order; where one thing is not understood, the others are told
    /// all the same. Perhaps nothing, which is a sign of life. Safe to cancel.
    ///
    /// # Errors
    /// Where nothing more will come.
    pub async fn next(&mut self) -> Result<Vec<Result<Told, Error>>, Error> {
        let chunk = self.response.chunk().await;
        let chunk = chunk.map_err(|source| Error::lost(&self.server, source))?;
        let chunk = chunk.ok_or_else(|| Error::Broke {
            server: self.server.clone(),
            how: Break::Closed,
        })?;
        let messages = self.decoder.push(&chunk);
        let messages = messages.map_err(|_| Error::NoEvents {
            path: self.path.clone(),
            what: format!("more than {} MiB for one event", LONGEST >> 20),
        })?;
        let told = messages
            .into_iter()
            .filter_map(|message| self.told(message));
        Ok(told.collect())
    }

    fn told(&self, message: Message) -> Option<Result<Told, Error>> {
        match message.kind.as_str() {
            "" | "message" => {
                let odd = |source| Error::Odd {
                    path: self.path.clone(),
                    source,
                };
                let json = serde_json::from_slice(&message.data);
                let recorded = json.and_then(Recorded::read).map_err(odd);
                Some(recorded.map(|recorded| Told::Event(Box::new(recorded), message.id)))
            }
            "live" => Some(Ok(Told::Live)),
            "end" => Some(Ok(Told::End)),
            // Of a later release.
            _ => None,
        }
    }
}
