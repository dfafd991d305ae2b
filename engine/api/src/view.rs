//! The objects that the REST API and the live updates return. Times are in milliseconds
//! since the Unix epoch, as in events; absent values are omitted.

mod backend;
mod cluster;
mod cordon;
mod damage;
mod debug_report;
mod deployed_node;
mod deployment;
mod deployment_plan;
mod discovery;
mod environment;
mod environment_event;
mod event;
mod finding;
mod history;
mod log_line;
mod module;
mod node;
mod placement;
mod request_diff;
mod soak_progress;
mod stage;
mod status;
mod store_usage;
mod strategy;

pub(crate) use backend::{Backend, Backends};
pub(crate) use cluster::{Cluster, ClusterDetail, Clusters, Policy};
use cordon::{Cordon, CordonedNode};
pub(crate) use damage::Damage;
pub(crate) use debug_report::DebugReport;
pub(crate) use deployed_node::{DeployedNode, NodeFailure};
pub(crate) use deployment::{Accepted, Deployment, DeploymentSummary, Deployments};
pub(crate) use deployment_plan::DeploymentPlan;
pub(crate) use discovery::{
    DiscoveredInstance, DiscoverySource, DiscoverySourceDetail, DiscoverySources,
};
pub(crate) use environment::EnvironmentSettings;
pub(crate) use environment_event::{EnvironmentEvent, EnvironmentEvents};
pub(crate) use event::{Events, StreamedDamage, StreamedEvent};
pub(crate) use finding::{Finding, Judgement};
pub(crate) use history::ModuleHistory;
use log_line::LogLine;
pub(crate) use module::{Module, ModuleVersion, Modules};
pub(crate) use node::{HealthCounts, Node, Nodes};
use placement::NodeModule;
pub(crate) use request_diff::RequestDiff;
pub(crate) use soak_progress::SoakProgress;
use stage::Stage;
pub(crate) use status::{Cause, Status};
pub(crate) use store_usage::StoreUsage;
pub(crate) use strategy::{Strategies, Strategy};
