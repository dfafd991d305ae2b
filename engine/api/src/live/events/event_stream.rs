//! Events as `text/event-stream`.

use std::io;

use futures_util::stream;
use poem::http::header;
use poem::{Body, IntoResponse, Request, Response};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{ToJSON, Type};

use super::reader::{News, Reader};
use crate::view;

const CONTENT_TYPE: &str = "text/event-stream";

/// What a reader is told, until it ends.
pub(crate) struct EventStream(Reader);

impl EventStream {
    /// Of this reader.
    pub fn new(reader: Reader) -> Self {
        Self(reader)
    }

    /// Whether a request prefers this to JSON.
    pub fn is_asked(request: &Request) -> bool {
        request
            .header(header::ACCEPT)
            .is_some_and(|accept| accept.contains(CONTENT_TYPE))
    }
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        let blocks = stream::unfold(Some(self.0), |reader| async move {
            let mut reader = reader?;
            // A cut is no end: the client sees the connection go, and asks again.
            let news = reader.next().await.ok()?;
            let over = news.iter().any(|news| matches!(news, News::End(_)));
            let text: String = news.iter().map(block).collect();
            Some((Ok::<_, io::Error>(text), (!over).then_some(reader)))
        });
        Response::builder()
            .content_type(CONTENT_TYPE)
            // Proxies that gather an answer before they pass it on would hold all events back.
            .header("x-accel-buffering", "no")
            .body(Body::from_bytes_stream(blocks))
    }
}

fn block(news: &News) -> String {
    match news {
        News::Event(event, place) => {
            let data = event.to_json_string();
            format!("id: {place}\ndata: {data}\n\n")
        }
        News::Reset => "event: reset\ndata: {}\n\n".to_owned(),
        News::Live(place) => format!("id: {place}\nevent: live\ndata: {{}}\n\n"),
        News::Silence => ":\n\n".to_owned(),
        News::End(place) => format!("id: {place}\nevent: end\ndata: {{}}\n\n"),
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
