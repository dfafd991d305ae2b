use poem_openapi::Tags;

/// The groups of operations in the OpenAPI document.
#[derive(Tags)]
pub(super) enum Tag {
    /// Rollouts of module versions to nodes.
    Deployments,
    /// The events of deployments, to read and to follow.
    Events,
    /// What is rolled out: WebAssembly components that answer HTTP requests.
    Modules,
    /// How modules are rolled out: WebAssembly components that decide the next step.
    Strategies,
    /// Environments, with their nodes and their policies.
    Clusters,
    /// The machines that run modules, and the operations that they call.
    Nodes,
    /// The registries that know of nodes.
    Discovery,
    /// The state of the engine.
    Health,
}
