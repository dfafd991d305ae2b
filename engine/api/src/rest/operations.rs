use poem_openapi::OpenApi;

use super::artifacts::Artifacts;
use super::backends::Backends;
use super::clusters::Clusters;
use super::debug::Debug;
use super::deployments::Deployments;
use super::discovery::Discovery;
use super::environments::Environments;
use super::events::Events;
use super::health::Health;
use super::history::History;
use super::modules::Modules;
use super::nodes::Nodes;
use super::reruns::Reruns;
use super::store::Store;
use super::strategies::Strategies;

/// All operations of the REST API.
pub(crate) fn operations() -> impl OpenApi {
    (
        Deployments,
        Reruns,
        History,
        Events,
        Modules,
        Strategies,
        Clusters,
        Environments,
        Nodes,
        Discovery,
        Backends,
        Artifacts,
        Health,
        Store,
        Debug,
    )
}
