//! Servers that are asked for metrics at each reading of a soak: those that the operator allows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;

mod http_provider;

pub use http_provider::{HttpProvider, HttpProviderConfig, InvalidProvider, ProviderKind};

/// Questions to one provider at the same time. Many soaks may ask it.
const CONCURRENT: usize = 8;

/// A server that answers queries with numbers.
#[async_trait]
pub trait MetricProvider: Send + Sync + std::fmt::Debug {
    /// The answer to a query, a finite number.
    ///
    /// # Errors
    /// Why there is none, in one sentence for people. Holds no secret: it is journaled and shown.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is changed.
    async fn ask(&self, query: &str, pointer: Option<&str>) -> Result<f64, String>;

    /// How long an answer may take.
    fn timeout(&self) -> Duration;

    /// Checks a query before it is asked.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    fn check(&self, query: &str, pointer: Option<&str>) -> Result<(), String>;
}

/// The providers that the operator allows, by name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct MetricProviders(Arc<BTreeMap<String, LimitedProvider>>);

#[derive(Debug)]
struct LimitedProvider {
    provider: Arc<dyn MetricProvider>,
    permits: Semaphore,
}

impl MetricProviders {
    /// These providers, and no others.
    pub fn new(providers: impl IntoIterator<Item = (String, Arc<dyn MetricProvider>)>) -> Self {
        let limited = providers.into_iter().map(|(name, provider)| {
            let permits = Semaphore::new(CONCURRENT);
            (name, LimitedProvider { provider, permits })
        });
        Self(Arc::new(limited.collect()))
    }

    /// Checks that a provider is allowed and could answer a query.
    ///
    /// # Errors
    /// What is wrong, in one sentence that says which providers there are.
    pub(crate) fn check(
        &self,
        name: &str,
        query: &str,
        pointer: Option<&str>,
    ) -> Result<(), String> {
        self.get(name)?.provider.check(query, pointer)
    }

    /// Asks a provider. The time that it takes counts from now, even where others are asked first.
    ///
    /// # Errors
    /// Why there is no answer, in one sentence.
    pub(crate) async fn ask(
        &self,
        name: &str,
        query: &str,
        pointer: Option<&str>,
    ) -> Result<f64, String> {
        let limited = self.get(name)?;
        let timeout = limited.provider.timeout();
        let asked = async {
            let permit = limited.permits.acquire().await;
            let _permit = permit.map_err(|_| "the engine stops".to_owned())?;
            limited.provider.ask(query, pointer).await
        };
        let answer = tokio::time::timeout(timeout, asked).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")))?;
        if answer.is_finite() {
            Ok(answer)
        } else {
            Err(format!("the answer is {answer}, not a number"))
        }
    }

    fn get(&self, name: &str) -> Result<&LimitedProvider, String> {
        self.0.get(name).ok_or_else(|| {
            let known: Vec<_> = self.0.keys().map(String::as_str).collect();
            let known = if known.is_empty() {
                "the engine's configuration has none".to_owned()
            } else {
                format!("use one of: {}", known.join(", "))
            };
            format!("there is no provider of metrics named '{name}'; {known}")
        })
    }
}
