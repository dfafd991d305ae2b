//! `/api/v1/clusters`.

use std::collections::BTreeSet;

use hotswap_core::Environment;
use hotswap_runner::Engine;
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;

use super::tag::Tag;
use crate::context::Context;
use crate::extract::{Parsed, Viewer};
use crate::problem::{AUTH, BAD_REQUEST, Failure, Kind, NOT_FOUND, Problem, UNAVAILABLE};
use crate::view;

/// Operations on clusters.
pub(super) struct Clusters;

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
            let policy = engine.environments.policy(&environment);
            let nodes = engine.registry.members_of(&environment);
            view::Cluster::new(environment, policy, &nodes)
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
        let policy = engine.environments.policy(&environment);
        let nodes = engine.registry.members_of(&environment);
        let cluster = view::Cluster::new(environment, policy, &nodes);
        Ok(Json(view::ClusterDetail::new(cluster, nodes, current)))
    }
}

/// All environments that are configured or have nodes.
fn environments(engine: &Engine) -> BTreeSet<Environment> {
    let with_nodes = engine.registry.environments();
    engine
        .environments
        .configured()
        .cloned()
        .chain(with_nodes)
        .collect()
}

fn unknown_cluster(environment: &Environment, known: &BTreeSet<Environment>) -> Problem {
    let known: Vec<_> = known.iter().map(Environment::as_str).collect();
    let known = if known.is_empty() {
        "none yet".to_owned()
    } else {
        known.join(", ")
    };
    let detail = format!(
        "environment '{environment}' is not configured and has no nodes; the environments are: {known}; to add this one, start a node: hotswap node --environment {environment}"
    );
    Problem::new(Kind::UnknownCluster, detail)
}
