//! The objects that the API answers with and takes. Times are milliseconds since the Unix
//! epoch, as in the events; what is absent is left out.

mod action;
mod cluster;
mod create;
mod deployment;
mod event;
mod module;
mod node;
mod state;
mod strategy;

pub(crate) use action::{Abort, Approval, By, Rollback};
pub(crate) use cluster::{Cluster, ClusterDetail, Clusters, Policy};
pub(crate) use create::CreateDeployment;
pub(crate) use deployment::{Accepted, Deployment, DeploymentSummary, Deployments};
pub(crate) use event::{Events, StreamedEvent};
pub(crate) use module::{Module, ModuleVersion, Modules};
pub(crate) use node::{HealthCounts, Node, Nodes};
pub(crate) use state::{Cause, DeployedNode, NodeFailure, Status};
pub(crate) use strategy::{Strategies, Strategy};
