//! `/api/v1/events`, and the events of one deployment: as pages, as a stream, and over a
//! WebSocket.

use std::time::Duration;

use hotswap_core::DeploymentId;
use hotswap_runner::EventPage;
use hotswap_signalr::WebSocketUpgrade;
use poem::Request;
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi, ResponseContent};
use tokio::time::Instant;

use super::tag::Tag;
use crate::auth::Identity;
use crate::context::Context;
use crate::extract::{Admin, Parsed, Viewer};
use crate::live::{EventCursor, EventSocket, EventStream, Reader, StopConditions};
use crate::problem::{AUTH, BAD_REQUEST, Failure, Kind, NOT_FOUND, Problem, UNAVAILABLE};
use crate::view;

/// In seconds: the longest time that a request may wait for events. Proxies close
/// connections that are silent for longer.
pub(crate) const MAX_EVENT_WAIT: u64 = 60;

/// The failures of every operation that reads events.
const READ: u16 = BAD_REQUEST | AUTH | UNAVAILABLE;

/// Operations on events.
pub(super) struct Events;

#[derive(ResponseContent)]
enum EventsContent {
    Page(Json<view::Events>),
    Stream(EventStream),
}

#[derive(ApiResponse)]
enum DeploymentEventsResponse {
    /// A page of events as JSON; or, as `text/event-stream`, all events as they happen.
    #[oai(status = 200)]
    Events(EventsContent),
    /// The deployment has ended, and `Last-Event-ID` names its last event. No events will
    /// follow: do not reconnect.
    #[oai(status = 204)]
    Ended,
}

#[derive(ApiResponse)]
enum AllEventsResponse {
    /// All events from now on, or after `Last-Event-ID`.
    #[oai(status = 200)]
    Stream(EventStream),
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Events")]
impl Events {
    /// Read the events of a deployment
    ///
    /// Returns events in order. To follow a deployment page by page, repeat the request with
    /// `after` from the previous response and a `wait`: the response comes at once if there
    /// are new events, and otherwise as soon as there are. The last event has the type
    /// `ended`.
    ///
    /// With `Accept: text/event-stream`, the response streams the events as they happen. The
    /// `data` of each is a StreamedEvent as JSON; to continue after a broken connection, send
    /// its `id` as `Last-Event-ID`. Four named events mark states of the stream: `live`, all
    /// past events have been sent; `reset`, `Last-Event-ID` comes from another store, or events
    /// after it were deleted, so the stream starts over; `damaged`, an event cannot be read or
    /// cannot follow those before it, and `data` says which and why; `end`, no events will follow.
    /// The stream sends a
    /// comment at least every 15 seconds. Browsers cannot set headers on an EventSource: they
    /// may send the token in the query as `access_token`.
    #[oai(
        path = "/deployments/:id/events",
        method = "get",
        operation_id = "listEvents"
    )]
    async fn of_deployment(
        &self,
        viewer: Viewer,
        context: Data<&Context>,
        request: &Request,
        /// The execution id of the deployment.
        id: Path<Parsed<DeploymentId>>,
        /// Returns only events with a higher number. Absent: starts at the first event.
        after: Query<Option<u64>>,
        /// The maximum number of events in a page. Streams ignore it.
        #[oai(
            default = "default_limit",
            validator(minimum(value = "1"), maximum(value = "1000"))
        )]
        limit: Query<u16>,
        /// How long to wait for the first event of a page, in seconds. Streams ignore it.
        #[oai(default, validator(maximum(value = "60")))]
        wait: Query<u64>,
        /// The `id` of the last event that the client received. Only for streams.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
    ) -> Result<DeploymentEventsResponse, Failure<{ READ | NOT_FOUND }>> {
        let from = after.0.map_or(0, |after| after.saturating_add(1));
        let deployments = &context.engine.deployments;
        if EventStream::is_requested(request) {
            let cursor = last_event_id.0.as_deref().map(parse_cursor);
            let stop = stop_conditions(&viewer.0, &context);
            let reader =
                Reader::for_deployment(deployments, id.0.0, from, cursor.as_ref(), stop).await?;
            // Browsers reconnect when a stream ends. Only a 204 stops them.
            if cursor.is_some() && reader.is_at_end() {
                return Ok(DeploymentEventsResponse::Ended);
            }
            let stream = EventsContent::Stream(EventStream::new(reader));
            return Ok(DeploymentEventsResponse::Events(stream));
        }
        let wait = Duration::from_secs(wait.0.min(MAX_EVENT_WAIT));
        let page = tokio::select! {
            page = deployments.events(id.0.0, from, limit.0.into(), wait) => page?,
            () = context.stopping.graceful.cancelled() => EventPage::default(),
        };
        let page = EventsContent::Page(Json(view::Events::new(page, after.0)));
        Ok(DeploymentEventsResponse::Events(page))
    }

    /// Follow a deployment over a WebSocket
    ///
    /// Sends the same events as `text/event-stream`. Each event is a text message: a
    /// StreamedEvent as JSON, with its `id` added. The messages `{"live":true}`,
    /// `{"reset":true}`, `{"damaged":{…}}` and `{"end":true}` stand for the named events. The server ignores all
    /// messages of the client. Browsers may send the token in the query as `access_token`.
    #[oai(
        path = "/deployments/:id/events/socket",
        method = "get",
        operation_id = "followDeployment"
    )]
    async fn of_deployment_by_socket(
        &self,
        viewer: Viewer,
        context: Data<&Context>,
        request: &Request,
        /// The execution id of the deployment.
        id: Path<Parsed<DeploymentId>>,
        /// The `id` of the last event that the client received.
        after: Query<Option<String>>,
    ) -> Result<EventSocket, Failure<{ READ | NOT_FOUND }>> {
        let upgrade = require_upgrade(request)?;
        let cursor = after.0.as_deref().map(parse_cursor);
        let stop = stop_conditions(&viewer.0, &context);
        let deployments = &context.engine.deployments;
        let reader = Reader::for_deployment(deployments, id.0.0, 0, cursor.as_ref(), stop).await?;
        Ok(EventSocket::new(upgrade, reader, &context.tasks))
    }

    /// Follow all deployments
    ///
    /// Streams the events of all deployments as `text/event-stream`, in the same form as for
    /// one deployment: from now on, or after `Last-Event-ID`. A stream from now on starts with
    /// the event `live`, whose `id` is the position where the stream starts.
    #[oai(path = "/events", method = "get", operation_id = "followAll")]
    async fn of_all(
        &self,
        admin: Admin,
        context: Data<&Context>,
        /// The `id` of the last event that the client received.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
    ) -> Result<AllEventsResponse, Failure<{ AUTH | UNAVAILABLE }>> {
        let cursor = last_event_id.0.as_deref().map(parse_cursor);
        let stop = stop_conditions(&admin.0, &context);
        let reader = Reader::for_all(&context.engine.deployments, cursor.as_ref(), stop).await?;
        Ok(AllEventsResponse::Stream(EventStream::new(reader)))
    }

    /// Follow all deployments over a WebSocket
    ///
    /// Sends the events of all deployments in the same form as for one deployment: from now
    /// on, or after the event that `after` names.
    #[oai(
        path = "/events/socket",
        method = "get",
        operation_id = "followAllOverSocket"
    )]
    async fn of_all_by_socket(
        &self,
        admin: Admin,
        context: Data<&Context>,
        request: &Request,
        /// The `id` of the last event that the client received.
        after: Query<Option<String>>,
    ) -> Result<EventSocket, Failure<READ>> {
        let upgrade = require_upgrade(request)?;
        let cursor = after.0.as_deref().map(parse_cursor);
        let stop = stop_conditions(&admin.0, &context);
        let reader = Reader::for_all(&context.engine.deployments, cursor.as_ref(), stop).await?;
        Ok(EventSocket::new(upgrade, reader, &context.tasks))
    }
}

fn default_limit() -> u16 {
    500
}

pub(super) fn parse_cursor(text: &str) -> EventCursor {
    let Ok(cursor) = text.parse();
    cursor
}

/// Ends a stream when the token expires or the server shuts down.
pub(super) fn stop_conditions(identity: &Identity, context: &Context) -> StopConditions {
    let expires_at = identity.expires_at.map(|at| {
        let millis = at
            .millis()
            .saturating_sub(context.engine.clock.now().millis());
        Instant::now() + Duration::from_millis(millis)
    });
    StopConditions {
        expires_at,
        shutdown: context.stopping.graceful.clone(),
    }
}

fn require_upgrade(request: &Request) -> Result<WebSocketUpgrade, Problem> {
    WebSocketUpgrade::from_request(request).ok_or_else(|| {
        let detail = "this path serves a WebSocket; send the headers Upgrade: websocket, Connection: upgrade and Sec-WebSocket-Version: 13";
        Problem::new(Kind::BadRequest, detail)
    })
}
