use hotswap_plugins::discovery::InstanceHealth;
use serde_json::{Value, json};

/// The service in which the nodes of tests are.
pub const SERVICE: &str = "hotswap-node";

/// The path of the EndpointSlices.
pub const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

/// The path of the pods.
pub const PODS: &str = "/api/v1/namespaces/default/pods";

/// A pod of the service, as its EndpointSlice has it.
pub struct Endpoint<'a> {
    /// The name of the pod, and of the slice.
    pub id: &'a str,
    /// Its IPv4 address.
    pub address: String,
    /// The port for orders.
    pub control: u16,
    /// The port for requests.
    pub data: u16,
    /// What its readiness says.
    pub health: InstanceHealth,
}

/// What a service account must be allowed to find nodes with their labels.
pub fn discovery_rules() -> Value {
    json!([
        { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
          "verbs": ["list", "watch"] },
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["list"] },
    ])
}

/// An EndpointSlice of [`SERVICE`] with one endpoint.
pub fn slice(endpoint: &Endpoint<'_>) -> Value {
    let id = endpoint.id;
    let (ready, serving) = match endpoint.health {
        InstanceHealth::Passing => (true, true),
        InstanceHealth::Warning => (false, true),
        InstanceHealth::Critical | InstanceHealth::Unknown => (false, false),
    };
    json!({
        "metadata": { "name": id, "labels": { "kubernetes.io/service-name": SERVICE } },
        "addressType": "IPv4",
        "ports": [
            { "name": "control", "port": endpoint.control },
            { "name": "data", "port": endpoint.data },
        ],
        "endpoints": [{
            "addresses": [endpoint.address], "zone": "eu",
            "conditions": { "ready": ready, "serving": serving, "terminating": false },
            "targetRef": { "kind": "Pod", "name": id, "namespace": "default" },
        }],
    })
}

/// A pod of a node in the environment `production`, with the label `hotswap.dev/tier` of `edge`.
pub fn pod(id: &str) -> Value {
    json!({
        "metadata": { "name": id, "labels": {
            "environment": "production",
            "hotswap.dev/tier": "edge",
            "app.kubernetes.io/version": "0.1.0",
        } },
        "spec": { "containers": [{ "name": "node", "image": "hotswap" }] },
    })
}
