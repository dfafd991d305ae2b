//! What is to be rolled out, and where.

use serde::de::DeserializeOwned;

use crate::bindings::exports::hotswap::strategy::guest;
use crate::{Error, ModuleVersion, Node, Result};

/// What is to be rolled out, and where, and how.
#[derive(Clone, Debug)]
pub struct Plan<C> {
    /// The deployment's id.
    pub deployment: String,
    /// `production`, or any other name.
    pub environment: String,
    /// What to roll out.
    pub module: ModuleVersion,
    /// Where, sorted by id, as things stood when the deployment began. No other node
    /// can be touched.
    pub nodes: Vec<Node>,
    /// The strategy's configuration, with defaults for what the request left out.
    pub config: C,
}

impl<C: DeserializeOwned> TryFrom<guest::Plan> for Plan<C> {
    type Error = Error;

    /// # Errors
    /// [`Error::Config`], if the configuration does not fit the type. The engine has
    /// checked it against the schema, so then the schema and the type differ.
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
