//! The labels of pods.

use std::collections::BTreeMap;

use hotswap_sdk::Span;
use hotswap_sdk::discovery::{Context, Endpoints, Error, Path, list_metadata};

use crate::wire::{Endpoint, EndpointSlice};

/// How long the labels of pods are believed.
const BELIEVED_FOR: Span = Span::mins(1);

/// The labels of pods, by the names of the pods.
pub type Labels = BTreeMap<String, BTreeMap<String, String>>;

/// What is known of the pods. To list them for every change of an endpoint would be a burden to
/// the API server.
#[derive(Default)]
pub struct Pods {
    labels: Labels,
    /// When they were listed, by the clock of the context.
    listed_at: Option<u64>,
    /// Whether it was said that they may not be listed.
    has_warned: bool,
}

impl Pods {
    /// The labels that are known.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Lists the pods at `path`, if a pod of the slices is not known, or what is known is old. Where
    /// that is denied, instances have no labels.
    ///
    /// # Errors
    /// Those of the API server, but for a denial.
    pub fn update(
        &mut self,
        context: &Context,
        servers: &mut Endpoints,
        path: &Path,
        slices: &[EndpointSlice],
    ) -> Result<(), Error> {
        let now = context.now();
        let is_fresh = |at: u64| now.saturating_sub(at) < BELIEVED_FOR.as_millis();
        let endpoints = slices
            .iter()
            .flat_map(|slice| slice.endpoints.iter().flatten());
        let mut pods = endpoints.filter_map(Endpoint::pod);
        let are_known = pods.all(|pod| self.labels.contains_key(pod));
        if are_known && self.listed_at.is_some_and(is_fresh) {
            return Ok(());
        }
        let pods = match list_metadata(context, servers, path) {
            Err(Error::Denied(text)) => {
                if !self.has_warned {
                    context.warn(format!("the nodes have no labels of their pods: {text}"));
                    self.has_warned = true;
                }
                return Ok(());
            }
            pods => pods?.items.into_iter(),
        };
        self.labels = pods.map(|pod| (pod.name, pod.labels)).collect();
        self.listed_at = Some(now);
        Ok(())
    }
}
