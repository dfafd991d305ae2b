//! `/api/v1/events`, and those of one deployment: what happened, as pages, as a stream and
//! over a WebSocket.

use std::time::Duration;

use hotswap_core::DeploymentId;
use hotswap_signalr::WebSocketUpgrade;
use poem::Request;
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi, ResponseContent};
use tokio::time::Instant;

use crate::auth::{Admin, Identity, Viewer};
use crate::context::Context;
use crate::live::{EventCursor, EventSocket, EventStream, Reader, StopConditions};
use crate::openapi::Tag;
use crate::problem::{AUTH, Failure, INVALID, Kind, MISSING, Problem, UNAVAILABLE};
use crate::text::Text;
use crate::view;

/// The longest that a request for events may wait, in seconds: proxies cut what is silent
/// for longer.
pub(crate) const LONGEST_WAIT: u64 = 60;

/// What reading can answer.
const READ: u16 = INVALID | AUTH | UNAVAILABLE;

/// Operations on events.
pub(crate) struct Events;

/// Events.
#[derive(ResponseContent)]
enum Content {
    Page(Json<view::Events>),
    Stream(EventStream),
}

#[derive(ApiResponse)]
#[expect(
    clippy::large_enum_variant,
    reason = "made once for an answer, and not kept"
)]
enum OfOne {
    /// As JSON a page of them; as `text/event-stream` all, as they come.
    #[oai(status = 200)]
    Events(Content),
    /// The deployment has ended, and `Last-Event-ID` names its last event: nothing will
    /// follow, so do not ask again.
    #[oai(status = 204)]
    Over,
}

#[derive(ApiResponse)]
enum OfAll {
    /// All that happens from now on, or since `Last-Event-ID`.
    #[oai(status = 200)]
    Stream(EventStream),
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Events")]
impl Events {
    /// Read what happened to a deployment
    ///
    /// Its events, in order. To follow a deployment with pages, ask again with the answer's
    /// `after` and a `wait`: the answer comes at once where there is something new, and else
    /// as soon as there is. The last event is of the type `ended`.
    ///
    /// With `Accept: text/event-stream` they come as they happen: each as the JSON of a
    /// StreamedEvent in `data`, with an `id` to go on after with `Last-Event-ID`. An event
    /// named `live` says that all that had happened has been told, `reset` that
    /// `Last-Event-ID` was of another store and the first event follows, `end` that nothing
    /// will follow. A comment comes at least every 15 seconds. Browsers, which cannot set
    /// headers on an EventSource, may give the token as `access_token` in the query.
    #[oai(
        path = "/deployments/:id/events",
        method = "get",
        operation_id = "listEvents"
    )]
    async fn of_one(
        &self,
        viewer: Viewer,
        context: Data<&Context>,
        request: &Request,
        /// The execution id.
        id: Path<Text<DeploymentId>>,
        /// Only events with a higher number; absent: from the first.
        after: Query<Option<u64>>,
        /// At most that many; of a page.
        #[oai(
            default = "default_events",
            validator(minimum(value = "1"), maximum(value = "1000"))
        )]
        limit: Query<u16>,
        /// How long to wait for the first event, in seconds; of a page.
        #[oai(default, validator(maximum(value = "60")))]
        wait: Query<u64>,
        /// The last `id` that was read; of a stream.
        #[oai(name = "Last-Event-ID")]
        last: Header<Option<String>>,
    ) -> Result<OfOne, Failure<{ READ | MISSING }>> {
        let from = after.0.map_or(0, |after| after.saturating_add(1));
        let deployments = &context.engine.deployments;
        if EventStream::is_requested(request) {
            let place = last.0.as_deref().map(place);
            let bounds = bounds(&viewer.0, &context);
            let reader =
                Reader::for_deployment(deployments, id.0.0, from, place.as_ref(), bounds).await?;
            // A browser asks again when a stream ends, and stops only for this.
            if place.is_some() && reader.is_at_end() {
                return Ok(OfOne::Over);
            }
            return Ok(OfOne::Events(Content::Stream(EventStream::new(reader))));
        }
        let wait = Duration::from_secs(wait.0.min(LONGEST_WAIT));
        let events = tokio::select! {
            events = deployments.events(id.0.0, from, limit.0.into(), wait) => events?,
            () = context.closing.cancelled() => Vec::new(),
        };
        let page = view::Events::new(events, after.0);
        Ok(OfOne::Events(Content::Page(Json(page))))
    }

    /// Follow a deployment over a WebSocket
    ///
    /// As with `text/event-stream`: each event is a text message, the JSON of a
    /// StreamedEvent with its `id` beside; `{"live":true}`, `{"reset":true}` and
    /// `{"end":true}` stand for the events of these names. Nothing that a client says means
    /// anything. Browsers may give the token as `access_token` in the query.
    #[oai(
        path = "/deployments/:id/events/socket",
        method = "get",
        operation_id = "followDeployment"
    )]
    async fn socket_of_one(
        &self,
        viewer: Viewer,
        context: Data<&Context>,
        request: &Request,
        /// The execution id.
        id: Path<Text<DeploymentId>>,
        /// The last `id` that was read.
        after: Query<Option<String>>,
    ) -> Result<EventSocket, Failure<{ READ | MISSING }>> {
        let upgrade = upgrade(request)?;
        let place = after.0.as_deref().map(place);
        let bounds = bounds(&viewer.0, &context);
        let deployments = &context.engine.deployments;
        let reader = Reader::for_deployment(deployments, id.0.0, 0, place.as_ref(), bounds).await?;
        Ok(EventSocket::new(upgrade, reader, &context.tasks))
    }

    /// Follow all deployments
    ///
    /// Only as `text/event-stream`, as for one deployment: from now on, or after
    /// `Last-Event-ID`. The first event is `live`, whose `id` is the place that it begins at.
    #[oai(path = "/events", method = "get", operation_id = "followAll")]
    async fn of_all(
        &self,
        admin: Admin,
        context: Data<&Context>,
        /// The last `id` that was read.
        #[oai(name = "Last-Event-ID")]
        last: Header<Option<String>>,
    ) -> Result<OfAll, Failure<{ AUTH | UNAVAILABLE }>> {
        let place = last.0.as_deref().map(place);
        let bounds = bounds(&admin.0, &context);
        let reader = Reader::for_all(&context.engine.deployments, place.as_ref(), bounds).await?;
        Ok(OfAll::Stream(EventStream::new(reader)))
    }

    /// Follow all deployments over a WebSocket
    ///
    /// As for one deployment, from now on, or after the place that `after` names.
    #[oai(
        path = "/events/socket",
        method = "get",
        operation_id = "followAllOverSocket"
    )]
    async fn socket_of_all(
        &self,
        admin: Admin,
        context: Data<&Context>,
        request: &Request,
        /// The last `id` that was read.
        after: Query<Option<String>>,
    ) -> Result<EventSocket, Failure<READ>> {
        let upgrade = upgrade(request)?;
        let place = after.0.as_deref().map(place);
        let bounds = bounds(&admin.0, &context);
        let reader = Reader::for_all(&context.engine.deployments, place.as_ref(), bounds).await?;
        Ok(EventSocket::new(upgrade, reader, &context.tasks))
    }
}

fn default_events() -> u16 {
    500
}

fn place(text: &str) -> EventCursor {
    let Ok(place) = text.parse();
    place
}

fn bounds(identity: &Identity, context: &Context) -> StopConditions {
    let expires = identity.expires_at.map(|at| {
        let left = at
            .millis()
            .saturating_sub(context.engine.clock.now().millis());
        Instant::now() + Duration::from_millis(left)
    });
    StopConditions {
        expires_at: expires,
        shutdown: context.closing.clone(),
    }
}

fn upgrade(request: &Request) -> Result<WebSocketUpgrade, Problem> {
    WebSocketUpgrade::from_request(request).ok_or_else(|| {
        let detail = "this is a WebSocket: ask with Upgrade: websocket, Connection: upgrade and Sec-WebSocket-Version: 13";
        Problem::new(Kind::BadRequest, detail)
    })
}
