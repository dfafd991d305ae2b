use std::fmt;
use std::sync::Arc;

use hotswap_core::Digest;
use semver::Version;
use serde_json::Value;

use crate::load::{ConfigError, Descriptor, LoadedComponent};
use crate::run::{CallHandler, Exit, Plan};

/// A loaded strategy. Cheap to clone; each run gets an instance of its own.
#[derive(Clone)]
pub struct Strategy {
    digest: Digest,
    component: Arc<LoadedComponent>,
}

impl Strategy {
    pub(crate) fn new(digest: Digest, component: LoadedComponent) -> Self {
        Self {
            digest,
            component: Arc::new(component),
        }
    }

    /// The digest of the component.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How the strategy describes itself.
    pub fn descriptor(&self) -> &Descriptor {
        &self.component.descriptor
    }

    /// The version of the contract that the component was built for.
    pub fn wit_version(&self) -> &Version {
        &self.component.wit_version
    }

    /// Checks a request's configuration against the strategy's schema and fills in the
    /// defaults, also those of nested objects. `None` and null mean all defaults.
    ///
    /// # Errors
    /// [`ConfigError`] lists the places that do not match the schema.
    pub fn configure(&self, config: Option<Value>) -> Result<Value, ConfigError> {
        self.component.schema.configure(config)
    }

    /// Runs the strategy from the top to its end. Starts as soon as fewer than
    /// [`Limits::concurrent_runs`](crate::Limits::concurrent_runs) runs are going on.
    /// `handler` answers the calls one after the other, on the stack of the caller's task, while
    /// the strategy computes on the host's own threads. Needs a tokio runtime.
    ///
    /// Cancel safe: dropping the future at any time ends the run there and drops the
    /// instance. A strategy that computes may go on for some milliseconds, but makes no call.
    pub async fn run(&self, plan: &Plan, handler: &mut dyn CallHandler) -> Exit {
        self.component.program.run(plan, handler).await
    }
}

impl fmt::Debug for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let descriptor = self.descriptor();
        f.debug_struct("Strategy")
            .field("name", &descriptor.name)
            .field("version", &descriptor.version)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}
