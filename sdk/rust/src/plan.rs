//! The task of a strategy.

use serde::de::DeserializeOwned;

use crate::bindings::exports::hotswap::strategy::guest;
use crate::{Error, ModuleVersion, Node, Result};

/// What to roll out, to which nodes, and with which configuration.
#[derive(Clone, Debug)]
pub struct Plan<C> {
    /// The id of the deployment.
    pub deployment: String,
    /// The name of the environment: `production`.
    pub environment: String,
    /// The module version to roll out.
    pub module: ModuleVersion,
    /// The nodes to roll out to, sorted by id, in the state when the deployment began. The
    /// strategy cannot touch any other node.
    pub nodes: Vec<Node>,
    /// The configuration of the strategy. Settings that the request omits have their defaults.
    pub config: C,
}

impl<C: DeserializeOwned> TryFrom<guest::Plan> for Plan<C> {
    type Error = Error;

    /// # Errors
    /// [`Error::Config`] if the configuration does not match the type `C`. The engine has
    /// validated it against the schema, so this means that the schema and the type differ.
    fn try_from(raw: guest::Plan) -> Result<Self> {
        let config =
            serde_json::from_str(&raw.config).map_err(|error| Error::Config(error.to_string()))?;
        Ok(Self {
            deployment: raw.deployment,
            environment: raw.environment,
            module: raw.module,
            nodes: raw.nodes,
            config,
        })
    }
}
