//! The kinds that the chart makes and Kubernetes does not have: where their definitions come from.
//! `xtask`, which fetches them, compiles this file too.

use std::io;
use std::path::PathBuf;

use crate::venv::cache_folder;

/// A CustomResourceDefinition in the source of a Go module, which
/// `tests/servers/resource-definitions` pins.
pub struct ResourceDefinition {
    /// The path of the Go module.
    pub module: &'static str,
    /// The version that `go.mod` names.
    pub version: &'static str,
    /// The folder of the file, in the source of the module.
    pub folder: &'static str,
    /// The name of the file.
    pub file: &'static str,
}

/// All of them. A controller of the Gateway API needs more than the routes of the chart.
pub const RESOURCE_DEFINITIONS: [ResourceDefinition; 8] = [
    of_gateway_api("gateway.networking.k8s.io_backendtlspolicies.yaml"),
    of_gateway_api("gateway.networking.k8s.io_gatewayclasses.yaml"),
    of_gateway_api("gateway.networking.k8s.io_gateways.yaml"),
    of_gateway_api("gateway.networking.k8s.io_grpcroutes.yaml"),
    of_gateway_api("gateway.networking.k8s.io_httproutes.yaml"),
    of_gateway_api("gateway.networking.k8s.io_referencegrants.yaml"),
    of_prometheus_operator("monitoring.coreos.com_prometheusrules.yaml"),
    of_prometheus_operator("monitoring.coreos.com_servicemonitors.yaml"),
];

const fn of_gateway_api(file: &'static str) -> ResourceDefinition {
    ResourceDefinition {
        module: "sigs.k8s.io/gateway-api",
        version: "1.4.0",
        folder: "config/crd/standard",
        file,
    }
}

const fn of_prometheus_operator(file: &'static str) -> ResourceDefinition {
    ResourceDefinition {
        module: "github.com/prometheus-operator/prometheus-operator",
        version: "0.74.0",
        folder: "example/prometheus-operator-crd",
        file,
    }
}

impl ResourceDefinition {
    /// Where it lies: in the user's cache folder, so that all checkouts share it. It may not exist
    /// yet.
    ///
    /// # Errors
    /// If the user has no cache folder.
    pub fn cached(&self) -> io::Result<PathBuf> {
        let folder = format!("resource-definitions-{}", self.version);
        Ok(cache_folder()?.join(folder).join(self.file))
    }
}
