use std::sync::Arc;

use arc_swap::ArcSwapOption;
use hotswap_common::CurrentSecret;
use hotswap_common::tls::ClientTls;

use crate::Error;
use crate::engine_client::EngineClient;

/// The engine that a node fetches artifacts from. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct CurrentEngine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The one of the configuration. No other is used then.
    configured: Option<EngineClient>,
    /// The one that asked last.
    told: ArcSwapOption<EngineClient>,
    token: CurrentSecret,
    tls: ClientTls,
}

impl CurrentEngine {
    /// The engine of the configuration; without one, none until an engine tells its URL.
    ///
    /// # Errors
    /// [`Error::EngineUrl`] if `url` is not an HTTP URL with a host.
    pub(crate) fn new(
        url: Option<&str>,
        token: CurrentSecret,
        tls: ClientTls,
    ) -> Result<Self, Error> {
        let configured = url.map(|url| EngineClient::new(url, token.clone(), &tls));
        Ok(Self(Arc::new(Inner {
            configured: configured.transpose()?,
            told: ArcSwapOption::empty(),
            token,
            tls,
        })))
    }

    /// The engine of the configuration.
    pub(crate) fn configured(&self) -> Option<&EngineClient> {
        self.0.configured.as_ref()
    }

    /// The engine. `None` while none is known.
    pub(crate) fn get(&self) -> Option<EngineClient> {
        let told = || self.0.told.load().as_deref().cloned();
        self.0.configured.clone().or_else(told)
    }

    /// An engine that holds the node token has told its URL. A URL that is not valid changes
    /// nothing.
    pub(crate) fn told(&self, url: &str) {
        let is_known = |engine: EngineClient| engine.url() == url.trim_end_matches('/');
        if self.0.configured.is_some() || self.get().is_some_and(is_known) {
            return;
        }
        match EngineClient::new(url, self.0.token.clone(), &self.0.tls) {
            Ok(engine) => {
                tracing::info!(engine = engine.url(), "an engine has found this node");
                self.0.told.store(Some(Arc::new(engine)));
            }
            Err(error) => tracing::warn!(%error, "an engine has given an invalid URL"),
        }
    }
}
