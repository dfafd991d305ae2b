use hotswap_core::{DeploymentId, Finding};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode};

use super::error::{Error, Interruption};
use super::event_decoder::{EventDecoder, MAX_BYTES, ServerSentEvent};
use super::{Client, Damage, RecordedEvent, read_findings};

const EVENT_STREAM: &str = "text/event-stream";
const LAST_EVENT_ID: &str = "last-event-id";

/// What the engine sends to a client that follows a deployment.
#[derive(Debug)]
pub enum StreamItem {
    /// The next event, and the id with which a later connection continues after it.
    Event(Box<RecordedEvent>, Option<String>),
    /// An event that cannot be read.
    Damaged(Damage),
    /// The progress of the running soak.
    Soak(SoakReport),
    /// The past is complete: the events that follow happen now.
    Live,
    /// The deployment has ended, and this was its last event.
    End,
    /// The store is another one, or has lost events: the events come again from the first.
    Reset,
}

/// The progress of a running soak, as the engine reports it.
#[derive(Debug, Default)]
pub struct SoakReport {
    /// The provisional findings.
    pub findings: Vec<Finding>,
    /// A sentence for each soak of the deployment that cannot decide.
    pub warnings: Vec<String>,
}

/// The events of a deployment as they happen, over one connection.
pub struct EventStream {
    response: Response,
    decoder: EventDecoder,
    server: String,
    path: String,
}

impl Client {
    /// Opens a stream of a deployment's events: from the first, or after the one with the id
    /// `last_id`. Returns `None` if no event follows and none ever will.
    ///
    /// Has no time-out, and neither has the stream. Cancel safe.
    pub async fn stream(
        &self,
        id: DeploymentId,
        last_id: Option<&str>,
    ) -> Result<Option<EventStream>, Error> {
        let path = format!("/deployments/{id}/events");
        self.open_stream(self.request(Method::GET, &path), last_id)
            .await
    }

    /// Opens the stream that `request` asks for, after the event with the id `last_id`. `None`
    /// where no event follows.
    pub(super) async fn open_stream(
        &self,
        request: RequestBuilder,
        last_id: Option<&str>,
    ) -> Result<Option<EventStream>, Error> {
        let mut request = request.header(ACCEPT, EVENT_STREAM);
        // An id that no header can carry is left out: the engine then starts at the first event.
        if let Some(last_id) = last_id.and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok()) {
            request = request.header(LAST_EVENT_ID, last_id);
        }
        let server = self.server().to_owned();
        let response = self.send(request).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let path = response.url().path().to_owned();
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case(EVENT_STREAM) {
            let content = format!("'{content_type}'");
            return Err(Error::NotAnEventStream { path, content });
        }
        Ok(Some(EventStream {
            response,
            decoder: EventDecoder::default(),
            server,
            path,
        }))
    }

    /// The error of a stream that stopped before its end.
    pub fn stream_interrupted(&self, interruption: Interruption) -> Error {
        let server = self.server().to_owned();
        Error::StreamInterrupted {
            server,
            interruption,
        }
    }
}

impl EventStream {
    /// The next items, in order. An item that cannot be parsed is an error among them. An
    /// empty list is a keep-alive. Cancel safe.
    ///
    /// # Errors
    /// Where the stream has stopped. No items follow.
    pub async fn next(&mut self) -> Result<Vec<Result<StreamItem, Error>>, Error> {
        let events = self.next_events().await?;
        let items = events.into_iter().filter_map(|event| self.parse(event));
        Ok(items.collect())
    }

    /// The next events as they were sent; this program may not know their kind. An empty
    /// list is a keep-alive. Cancel safe.
    ///
    /// # Errors
    /// Where the stream has stopped. No events follow.
    pub async fn next_events(&mut self) -> Result<Vec<ServerSentEvent>, Error> {
        let chunk = self.response.chunk().await;
        let chunk = chunk.map_err(|source| Error::from_network(&self.server, source))?;
        let chunk = chunk.ok_or_else(|| Error::StreamInterrupted {
            server: self.server.clone(),
            interruption: Interruption::Closed,
        })?;
        let events = self.decoder.push(&chunk);
        events.map_err(|_| Error::NotAnEventStream {
            path: self.path.clone(),
            content: format!("more than {} MiB for one event", MAX_BYTES >> 20),
        })
    }

    /// The error of an event whose data is not what this program expects.
    pub fn unexpected(&self, source: serde_json::Error) -> Error {
        Error::UnexpectedResponse {
            path: self.path.clone(),
            source,
        }
    }

    /// Ignores kinds of events that a later version of the engine may send.
    fn parse(&self, event: ServerSentEvent) -> Option<Result<StreamItem, Error>> {
        match event.kind.as_str() {
            "" | "message" => {
                let json = serde_json::from_slice(&event.data);
                let recorded = json.and_then(RecordedEvent::read);
                let recorded = recorded.map_err(|source| Error::UnexpectedResponse {
                    path: self.path.clone(),
                    source,
                });
                Some(recorded.map(|recorded| StreamItem::Event(Box::new(recorded), event.id)))
            }
            "damaged" => {
                let damage = serde_json::from_slice(&event.data);
                let damage = damage.map_err(|source| Error::UnexpectedResponse {
                    path: self.path.clone(),
                    source,
                });
                Some(damage.map(StreamItem::Damaged))
            }
            "live" => Some(Ok(StreamItem::Live)),
            // It comes again, so one of a newer engine that cannot be read is left out.
            "soak" => {
                let progress = serde_json::from_slice::<serde_json::Value>(&event.data).ok()?;
                let warnings = progress["warnings"].as_array().into_iter().flatten();
                let warnings = warnings.filter_map(|warning| warning.as_str().map(str::to_owned));
                Some(Ok(StreamItem::Soak(SoakReport {
                    findings: read_findings(&progress["findings"]),
                    warnings: warnings.collect(),
                })))
            }
            "end" => Some(Ok(StreamItem::End)),
            "reset" => Some(Ok(StreamItem::Reset)),
            _ => None,
        }
    }
}
