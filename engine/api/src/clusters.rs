//! `/api/v1/clusters`.

use std::collections::BTreeSet;

use hotswap_core::{Environment, Status};
use hotswap_runner::Engine;
use hotswap_store::Query;
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;

use crate::auth::Viewer;
use crate::context::Context;
use crate::openapi::Tag;
use crate::problem::{AUTH, Failure, INVALID, Kind, MISSING, Problem, UNAVAILABLE};
use crate::text::Text;
use crate::view;

/// Deployments that are looked through for what should run in an environment.
const LOOKED_THROUGH: usize = 100;

/// Operations on clusters.
pub(crate) struct Clusters;

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Clusters")]
impl Clusters {
    /// List clusters
    ///
    /// Every environment that is configured or has nodes, with its policy and how its
    /// nodes are.
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
    /// An environment with its policy, its nodes, and what should run on them.
    #[oai(
        path = "/clusters/:environment",
        method = "get",
        operation_id = "getCluster"
    )]
    async fn get(
        &self,
        _viewer: Viewer,
        context: Data<&Context>,
        /// The environment's name.
        environment: Path<Text<Environment>>,
    ) -> Result<Json<view::ClusterDetail>, Failure<{ INVALID | AUTH | MISSING | UNAVAILABLE }>>
    {
        let (engine, environment) = (&context.engine, environment.0.0);
        let known = environments(engine);
        if !known.contains(&environment) {
            return Err(unknown(&environment, &known).into());
        }
        let query = Query {
            environment: Some(environment.clone()),
            status: Some(Status::Succeeded),
            limit: LOOKED_THROUGH,
            ..Query::default()
        };
        let (succeeded, _) = engine.deployments.list(&query).await?;
        let policy = engine.environments.policy(&environment);
        let nodes = engine.registry.members_of(&environment);
        let cluster = view::Cluster::new(environment, policy, &nodes);
        Ok(Json(view::ClusterDetail::new(cluster, nodes, succeeded)))
    }
}

fn environments(engine: &Engine) -> BTreeSet<Environment> {
    let named = engine.registry.environments();
    engine
        .environments
        .configured()
        .cloned()
        .chain(named)
        .collect()
}

fn unknown(environment: &Environment, known: &BTreeSet<Environment>) -> Problem {
    let known: Vec<_> = known.iter().map(Environment::as_str).collect();
    let known = if known.is_empty() {
        "none yet".to_owned()
    } else {
        known.join(", ")
    };
    let detail = format!(
        "environment '{environment}' is not configured and has no nodes; there are: {known}; start a node of it: hotswap node --environment {environment}"
    );
    Problem::new(Kind::UnknownCluster, detail)
}
