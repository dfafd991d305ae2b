use hotswap_core::{Environment, Fence, NodeId};
use hotswap_fleet::discovery::SourceRules;
use hotswap_fleet::{Move, PollError, ProvenNode, registry};
use hotswap_protocol::PollRequest;
use tokio::sync::Semaphore;

use super::Polling;
use super::target::Target;
use crate::{FenceError, nodes};

/// Characters of a node's text that a reason repeats.
const MAX_SHOWN: usize = 80;

/// A node that has proven who it is, at the URL that its registry names.
pub(super) struct Proof {
    control_url: String,
    node: ProvenNode,
}

/// Why an instance is not taken as a node. The texts are for people.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("its registry names no control port; register it with a port named `control`")]
    NoControlPort,
    #[error(
        "it says that it belongs to environment '{named}', and its source is for {only}; start it with --environment {only}, or change `environment` of the source"
    )]
    OtherEnvironment { named: String, only: Environment },
    #[error("{0}")]
    Poll(#[from] PollError),
    #[error("{0}")]
    Registry(#[from] registry::Error),
    #[error("{0}")]
    Fence(#[from] FenceError),
    #[error("{0}")]
    Nodes(#[from] nodes::Error),
}

impl Polling {
    /// Has an instance prove who it is, unless it has, and asks it. What it answers counts as its
    /// report. `is_new` says that it has not failed to answer: it does not wait behind those that
    /// have.
    ///
    /// # Errors
    /// Why it is not taken as a node, or does not answer.
    pub(super) async fn ask(
        &self,
        id: &NodeId,
        target: &Target,
        proof: &mut Option<Proof>,
        is_new: bool,
    ) -> Result<(), String> {
        let asked = self.try_ask(id, target, proof, is_new).await;
        if let Err(Error::Poll(error)) = &asked
            && !matches!(error, PollError::Status(_))
        {
            *proof = None;
        }
        asked.map_err(|error| error.to_string())
    }

    async fn try_ask(
        &self,
        id: &NodeId,
        target: &Target,
        proof: &mut Option<Proof>,
        is_new: bool,
    ) -> Result<(), Error> {
        let control_url = target.control_url.as_ref().ok_or(Error::NoControlPort)?;
        if proof
            .as_ref()
            .is_some_and(|it| it.control_url != *control_url)
        {
            *proof = None;
        }
        let node = match proof {
            Some(proof) => proof.node.clone(),
            None => {
                let permits = if is_new { &self.new } else { &self.silent };
                let _permit = acquire(permits).await;
                let rules = self.rules_of(target);
                let networks = &rules.networks;
                let node = self.config.client.prove(id, control_url, networks).await?;
                let control_url = control_url.clone();
                *proof = Some(Proof {
                    control_url,
                    node: node.clone(),
                });
                node
            }
        };
        let _permit = acquire(&self.answering).await;
        // The second time it is told what the first one has made known.
        if self.report(id, target, &node).await? {
            self.report(id, target, &node).await?;
        }
        Ok(())
    }

    fn rules_of(&self, target: &Target) -> SourceRules {
        let rules = self.config.rules.get(&*target.source);
        rules.cloned().unwrap_or_default()
    }

    /// Asks a node once. Returns whether it has registered with that.
    async fn report(&self, id: &NodeId, target: &Target, node: &ProvenNode) -> Result<bool, Error> {
        let request = PollRequest {
            engine_url: self.config.engine_url.towards(node.address).ok(),
            told: self.engine.registry.told_to(id, &node.boot),
        };
        let mut answer = self.config.client.poll(node, &request).await?;
        let registration = &mut answer.registration;
        registration.control_url = node.control_url();
        registration.boot = Some(node.boot.clone());
        target.complete(registration);
        let named = registration.environment.as_deref();
        if let (Some(only), Some(named)) = (self.rules_of(target).environment, named)
            && only.as_str() != named
        {
            let named = named.chars().take(MAX_SHOWN).collect();
            return Err(Error::OtherEnvironment { named, only });
        }
        let fence = registration
            .highest_fence
            .max(answer.heartbeat.highest_fence);
        self.engine.observe_fence(Fence(fence)).await?;
        let record = async |moved: Move| -> Result<(), Error> {
            Ok(self.engine.nodes.record_move(moved).await?)
        };
        let registry = &self.engine.registry;
        registry
            .report_found(id, answer, &target.source, record)
            .await
    }
}

/// Nothing closes the semaphores.
async fn acquire(semaphore: &Semaphore) -> Option<tokio::sync::SemaphorePermit<'_>> {
    semaphore.acquire().await.ok()
}
