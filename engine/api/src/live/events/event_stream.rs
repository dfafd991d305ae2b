use std::io;

use futures_util::stream;
use poem::http::header;
use poem::{Body, IntoResponse, Request, Response};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{ToJSON, Type};

use super::reader::{Reader, ReaderItem};
use crate::view;

const CONTENT_TYPE: &str = "text/event-stream";

/// A response that sends the items of a reader as server-sent events.
pub(crate) struct EventStream(Box<Reader>);

impl EventStream {
    pub fn new(reader: Reader) -> Self {
        Self(Box::new(reader))
    }

    /// Whether a request accepts an event stream, and so prefers it to JSON.
    pub fn is_requested(request: &Request) -> bool {
        request
            .header(header::ACCEPT)
            .is_some_and(|accept| accept.contains(CONTENT_TYPE))
    }
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        let chunks = stream::unfold(Some(self.0), |reader| async move {
            let mut reader = reader?;
            // Where reading stops, the connection closes without an `end` event: the client
            // reconnects.
            let items = reader.next().await.ok()?;
            let is_last = items.iter().any(|item| matches!(item, ReaderItem::End(_)));
            let text: String = items.iter().map(to_server_sent_event).collect();
            Some((Ok::<_, io::Error>(text), (!is_last).then_some(reader)))
        });
        Response::builder()
            .content_type(CONTENT_TYPE)
            // Without this, proxies that buffer responses would hold back all events.
            .header("x-accel-buffering", "no")
            .body(Body::from_bytes_stream(chunks))
    }
}

/// An [`EventStream`] of the events of an environment.
pub(crate) struct EnvironmentEventStream(EventStream);

impl EnvironmentEventStream {
    pub fn new(reader: Reader) -> Self {
        Self(EventStream::new(reader))
    }
}

impl IntoResponse for EnvironmentEventStream {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl Payload for EnvironmentEventStream {
    const CONTENT_TYPE: &'static str = CONTENT_TYPE;

    fn schema_ref() -> MetaSchemaRef {
        view::EnvironmentEvent::schema_ref()
    }

    fn register(registry: &mut Registry) {
        view::EnvironmentEvent::register(registry);
    }
}

fn to_server_sent_event(item: &ReaderItem) -> String {
    match item {
        ReaderItem::Event(event, cursor) => {
            let data = event.to_json_string();
            format!("id: {cursor}\ndata: {data}\n\n")
        }
        ReaderItem::Environment(event, cursor) => {
            let data = event.to_json_string();
            format!("id: {cursor}\ndata: {data}\n\n")
        }
        ReaderItem::Damage(damage, cursor) => {
            let data = damage.to_json_string();
            format!("id: {cursor}\nevent: damaged\ndata: {data}\n\n")
        }
        ReaderItem::Soak(progress) => {
            let data = progress.to_json_string();
            format!("event: soak\ndata: {data}\n\n")
        }
        ReaderItem::Reset => "event: reset\ndata: {}\n\n".to_owned(),
        ReaderItem::Live(cursor) => format!("id: {cursor}\nevent: live\ndata: {{}}\n\n"),
        ReaderItem::Heartbeat => ":\n\n".to_owned(),
        ReaderItem::End(cursor) => format!("id: {cursor}\nevent: end\ndata: {{}}\n\n"),
    }
}

impl Payload for EventStream {
    const CONTENT_TYPE: &'static str = CONTENT_TYPE;

    fn schema_ref() -> MetaSchemaRef {
        view::StreamedEvent::schema_ref()
    }

    fn register(registry: &mut Registry) {
        view::StreamedEvent::register(registry);
    }
}
