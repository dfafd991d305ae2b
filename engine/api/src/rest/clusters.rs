//! `/api/v1/clusters`.

use std::collections::BTreeSet;

use hotswap_core::{Environment, ModuleName};
use hotswap_runner::Engine;
use poem::Request;
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi, ResponseContent};

use super::cursor::{cursor_before, parse_position};
use super::deployments::ReasonRequest;
use super::events::{parse_cursor as parse_event_cursor, stop_conditions};
use super::nodes::view_nodes;
use super::tag::Tag;
use crate::context::Context;
use crate::extract::{Admin, OptionalJsonBody, Parsed, Viewer};
use crate::live::{EnvironmentEventStream, EventStream, Reader};
use crate::problem::{
    AUTH, BAD_REQUEST, CONFLICT, DISK_FULL, Failure, JSON_BODY, Kind, NOT_FOUND, Problem,
    UNAVAILABLE,
};
use crate::view;

/// Operations on clusters.
pub(super) struct Clusters;

/// Events of a page, where the request does not say.
const DEFAULT_EVENTS: u16 = 50;

#[derive(ApiResponse)]
enum RetireResponse {
    /// The module is retired. The nodes follow.
    #[oai(status = 204)]
    Retired,
}

#[derive(ResponseContent)]
enum EventsContent {
    Page(Json<view::EnvironmentEvents>),
    Stream(EnvironmentEventStream),
}

#[derive(ApiResponse)]
enum EventsResponse {
    /// A page of events as JSON; or, as `text/event-stream`, the last events and those that
    /// follow.
    #[oai(status = 200)]
    Events(EventsContent),
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Clusters")]
impl Clusters {
    /// List clusters
    ///
    /// Returns every environment that is configured or has nodes, with its policy and the
    /// health of its nodes.
    #[oai(path = "/clusters", method = "get", operation_id = "listClusters")]
    async fn list(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
    ) -> Result<Json<view::Clusters>, Failure<AUTH>> {
        let engine = &context.engine;
        let clusters = environments(engine).into_iter().map(|environment| {
            let nodes = engine.registry.members_of(&environment);
            view::Cluster::new(environment, &engine.environments, &nodes)
        });
        let clusters = clusters.collect();
        Ok(Json(view::Clusters { clusters }))
    }

    /// Get a cluster
    ///
    /// Returns an environment with its policy, its nodes, and the modules that should run on
    /// them.
    #[oai(
        path = "/clusters/:environment",
        method = "get",
        operation_id = "getCluster"
    )]
    async fn get(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// The name of the environment.
        environment: Path<Parsed<Environment>>,
    ) -> Result<Json<view::ClusterDetail>, Failure<{ BAD_REQUEST | AUTH | NOT_FOUND | UNAVAILABLE }>>
    {
        let (engine, environment) = (&context.engine, environment.0.0);
        let known = environments(engine);
        if !known.contains(&environment) {
            return Err(unknown_cluster(&environment, &known).into());
        }
        let current = engine.deployments.current(&environment).await?;
        let nodes = engine.registry.members_of(&environment);
        let placements = engine.reconciler.placements(&environment).await?;
        let cluster = view::Cluster::new(environment, &engine.environments, &nodes);
        let nodes = view_nodes(engine, nodes, Some(&placements));
        let detail = view::ClusterDetail::new(cluster, nodes, current);
        Ok(Json(detail))
    }

    /// Retire a module
    ///
    /// From here on no version of the module should run in the environment: the engine removes
    /// it from every node, also from those that join or come back later. A deployment of the
    /// module brings it back. Returns as soon as this is recorded; `GET
    /// /api/v1/clusters/{environment}` shows when the nodes have followed.
    #[oai(
        path = "/clusters/:environment/modules/:name",
        method = "delete",
        operation_id = "retireModule"
    )]
    async fn retire(
        &self,
        admin: Admin,
        context: Data<&Context>,
        /// The name of the environment.
        environment: Path<Parsed<Environment>>,
        /// The name of the module.
        name: Path<Parsed<ModuleName>>,
        body: OptionalJsonBody<ReasonRequest>,
    ) -> Result<
        RetireResponse,
        Failure<{ AUTH | NOT_FOUND | CONFLICT | JSON_BODY | UNAVAILABLE | DISK_FULL }>,
    > {
        let (by, reason) = body.0.validate(&admin.0)?;
        let reconciler = &context.engine.reconciler;
        let retired = reconciler.retire(&environment.0.0, &name.0.0, by, reason);
        retired.await?;
        Ok(RetireResponse::Retired)
    }

    /// List the events of a cluster
    ///
    /// Returns what happened in an environment outside of deployments, newest first: modules
    /// that were retired, nodes that the engine brought to what they should run, and nodes that
    /// were cordoned, drained, uncordoned or removed. Old events are deleted with old
    /// deployments.
    ///
    /// With `Accept: text/event-stream`, the response streams the events as they happen, oldest
    /// first: the last `limit` of those that there are, then each that follows. The `data` of each
    /// is an EnvironmentEvent as JSON; to continue after a broken connection, send its `id` as
    /// `Last-Event-ID`. Two named events mark states of the stream: `live`, all past events have
    /// been sent; `reset`, `Last-Event-ID` comes from another store, or events after it were
    /// deleted, so the stream starts over. The stream sends a comment at least every 15 seconds,
    /// and never ends by itself. Browsers cannot set headers on an EventSource: they may send the
    /// token in the query as `access_token`.
    #[oai(
        path = "/clusters/:environment/events",
        method = "get",
        operation_id = "listClusterEvents"
    )]
    async fn events(
        &self,
        viewer: Viewer,
        context: Data<&Context>,
        request: &Request,
        /// The name of the environment.
        environment: Path<Parsed<Environment>>,
        /// Continues a list: `nextCursor` of the previous response. Streams ignore it.
        cursor: Query<Option<String>>,
        /// At most this many events. 50 if absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "500")))]
        limit: Query<Option<u16>>,
        /// The `id` of the last event that the client received. Only for streams.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
    ) -> Result<EventsResponse, Failure<{ BAD_REQUEST | AUTH | UNAVAILABLE }>> {
        let limit = usize::from(limit.0.unwrap_or(DEFAULT_EVENTS));
        if EventStream::is_requested(request) {
            let cursor = last_event_id.0.as_deref().map(parse_event_cursor);
            let stop = stop_conditions(&viewer.0, &context);
            let of = (environment.0.0, limit);
            let reader = Reader::for_environment(&context.engine, of, cursor.as_ref(), stop);
            let stream = EnvironmentEventStream::new(reader.await?);
            return Ok(EventsResponse::Events(EventsContent::Stream(stream)));
        }
        let cursor = cursor.0.as_deref().map(parse_position).transpose()?;
        let before = cursor.unwrap_or(u64::MAX);
        let reconciler = &context.engine.reconciler;
        // One more tells whether there are more.
        let found = reconciler.events_before(&environment.0.0, before, limit + 1);
        let mut found = found.await?;
        let has_more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| has_more);
        let page = Json(view::EnvironmentEvents {
            next_cursor: last.map(|last| cursor_before(last.position)),
            events: found.into_iter().map(Into::into).collect(),
        });
        Ok(EventsResponse::Events(EventsContent::Page(page)))
    }
}

/// All environments that are configured or have nodes.
fn environments(engine: &Engine) -> BTreeSet<Environment> {
    let with_nodes = engine.registry.environments();
    let configured = engine.environments.configured();
    configured.into_iter().chain(with_nodes).collect()
}

fn unknown_cluster(environment: &Environment, known: &BTreeSet<Environment>) -> Problem {
    let known: Vec<_> = known.iter().map(Environment::as_str).collect();
    let known = if known.is_empty() {
        "none yet".to_owned()
    } else {
        known.join(", ")
    };
    let detail = format!(
        "environment '{environment}' is not configured and has no nodes; the environments are: {known}; to add this one, start a node: hotswap node run --environment {environment}"
    );
    Problem::new(Kind::UnknownCluster, detail)
}
