//! `/api/v1/discovery`.

use std::sync::Arc;
use std::time::Duration;

use hotswap_fleet::discovery::Discovery as Source;
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use tokio::time::timeout;

use super::tag::Tag;
use crate::context::Context;
use crate::extract::{Operator, Viewer};
use crate::problem::{AUTH, BAD_REQUEST, Failure, Kind, NOT_FOUND, Problem};
use crate::view;

/// How long a refresh may take. A registry that takes longer is shown as it is.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(25);

/// Operations on the sources of nodes.
pub(super) struct Discovery;

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Discovery")]
impl Discovery {
    /// List sources
    ///
    /// Returns the sources that know of nodes: the built-in registry, where nodes report in, and
    /// the registries that the configuration names. The engine asks the nodes that only those know
    /// for their reports, and deployments act on all of them. With `service`, also the instances of
    /// that service.
    #[oai(
        path = "/discovery",
        method = "get",
        operation_id = "listDiscoverySources"
    )]
    async fn list(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// Only the sources that find the instances of this service, and those instances.
        #[oai(validator(max_length = "256"))]
        service: Query<Option<String>>,
    ) -> Result<Json<view::DiscoverySources>, Failure<{ BAD_REQUEST | AUTH }>> {
        let service = service.0.as_deref();
        let sources = context.sources.iter();
        let sources =
            sources.filter(|it| service.is_none_or(|service| it.service() == Some(service)));
        let (mut names, mut views) = (Vec::new(), Vec::new());
        for source in sources {
            names.push(source.name());
            views.push(view::DiscoverySource::of(source.as_ref()));
        }
        Ok(Json(view::DiscoverySources {
            instances: service.map(|_| instances(&context, &names)),
            sources: views,
        }))
    }

    /// Get a source
    ///
    /// Returns a source with the instances that it has found, from memory. An instance that
    /// several sources know is shown as the first of them says it; where another says something
    /// else, `conflicts` shows it. Where it is, a source whose registry fails does not count while
    /// another one answers.
    #[oai(
        path = "/discovery/:name",
        method = "get",
        operation_id = "getDiscoverySource"
    )]
    async fn get(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// The name of the source.
        name: Path<String>,
    ) -> Result<Json<view::DiscoverySourceDetail>, Failure<{ AUTH | NOT_FOUND }>> {
        let source = find(&context, &name.0)?;
        Ok(Json(detail(&context, source.as_ref())))
    }

    /// Refresh a source
    ///
    /// Asks the registry again, and waits until it has answered or failed, 25 seconds at most. The
    /// answer shows the source as it is then: after a failure its condition is `stale`, and
    /// `lastError` says why.
    #[oai(
        path = "/discovery/:name/refresh",
        method = "post",
        operation_id = "refreshDiscoverySource"
    )]
    async fn refresh(
        &self,
        _operator: Operator,
        context: Data<&Context>,
        /// The name of the source.
        name: Path<String>,
    ) -> Result<Json<view::DiscoverySourceDetail>, Failure<{ AUTH | NOT_FOUND }>> {
        let source = Arc::clone(find(&context, &name.0)?);
        // The source keeps what came of it.
        let _ = timeout(REFRESH_TIMEOUT, source.refresh()).await;
        Ok(Json(detail(&context, source.as_ref())))
    }
}

fn find<'a>(context: &'a Context, name: &str) -> Result<&'a Arc<dyn Source>, Problem> {
    context.sources.get(name).ok_or_else(|| {
        let detail = "the engine has no such source; list sources with GET /api/v1/discovery";
        Problem::new(Kind::UnknownSource, detail)
    })
}

fn detail(context: &Context, source: &dyn Source) -> view::DiscoverySourceDetail {
    view::DiscoverySourceDetail {
        source: view::DiscoverySource::of(source),
        instances: instances(context, &[source.name()]),
    }
}

/// The instances that at least one of these sources has found.
fn instances(context: &Context, sources: &[&str]) -> Vec<view::DiscoveredInstance> {
    let found = context.sources.instances().into_iter();
    let instances = found
        .filter(|merged| merged.sources.iter().any(|name| sources.contains(&&**name)))
        .map(|merged| {
            let poll = context.polled.get(&merged.instance.id);
            view::DiscoveredInstance::new(merged, poll)
        });
    instances.collect()
}
