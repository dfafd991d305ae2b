use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use hotswap_core::SystemClock;
use hotswap_fleet::discovery::{WatchOptions, WatchedSource};
use hotswap_plugins::discovery::{BackendComponent, BackendLimits, BackendSettings, DiscoveryHost};
use hotswap_runner::discovery::ComponentBackend;
use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;

/// A component, and what it is started with.
pub struct Watching {
    pub component: BackendComponent,
    pub settings: BackendSettings,
}

impl Watching {
    /// # Errors
    /// If it is no component for discovery.
    pub async fn new(component: &[u8], settings: BackendSettings) -> Result<Self> {
        let host = DiscoveryHost::new(BackendLimits::default())?;
        Ok(Self {
            component: host.load(component).await?,
            settings,
        })
    }

    /// The same component with another configuration.
    pub fn with_config(&self, config: Value) -> Self {
        Self {
            component: self.component.clone(),
            settings: BackendSettings {
                config: Some(config),
                ..self.settings.clone()
            },
        }
    }

    /// Watches, until the task is dropped. Looks at each change at once: those of the bench come
    /// faster than those of a registry.
    pub fn watch(&self, service: &str) -> (WatchedSource, AbortOnDropHandle<()>) {
        let options = WatchOptions {
            min_interval: Duration::from_millis(1),
            ..WatchOptions::default()
        };
        self.watch_with(service, options)
    }

    /// Watches as an engine does, until the task is dropped.
    pub fn watch_as_engine(&self, service: &str) -> (WatchedSource, AbortOnDropHandle<()>) {
        self.watch_with(service, WatchOptions::default())
    }

    fn watch_with(
        &self,
        service: &str,
        options: WatchOptions,
    ) -> (WatchedSource, AbortOnDropHandle<()>) {
        let clock = Arc::new(SystemClock);
        let source = WatchedSource::new("main", "component", clock, options, None);
        let (component, settings) = (self.component.clone(), self.settings.clone());
        let backend = ComponentBackend::new(component, settings, service);
        let running = source.clone();
        let task = tokio::spawn(async move { running.run(backend).await });
        (source, AbortOnDropHandle::new(task))
    }
}
