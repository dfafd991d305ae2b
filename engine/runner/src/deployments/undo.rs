//! Going back to an earlier success of a module in an environment.

use std::collections::BTreeMap;

use hotswap_core::{
    DeploymentId, DeploymentSummary, Digest, Header, Idempotency, Selector, Status, StrategyName,
};

use super::error::Success;
use super::new_deployment::Origin;
use super::rollback::ROLLBACK_STRATEGY;
use super::{Deployments, Error, NewDeployment, NewUndo, Rollback, UndoTarget};

/// Successes that are looked at at once, and that an error can name.
const MAX_LOOKED_AT: usize = 50;

/// How often a success is chosen again. Each time, a rollout has ended between the choice and the
/// write.
const MAX_CHOICES: u32 = 100;

/// The success to go back to, and why that one.
struct Found {
    header: Header,
    /// The newest success, from which it goes back. `None` where the target was requested.
    undo_from: Option<DeploymentId>,
    /// The nodes that go back.
    selector: Option<Selector>,
    reason: String,
}

impl Deployments {
    /// Creates a deployment of the version of an earlier success, with its strategy and its
    /// configuration. If the strategy is gone, or no longer takes the configuration, uses `direct`
    /// instead, and the reason says so.
    ///
    /// The earlier success is the first of these:
    /// 1. The requested success, for the nodes that it was for.
    /// 2. The last success of another version on the nodes of the current success, for these
    ///    nodes.
    /// 3. If the module was retired: the last success.
    ///
    /// The write that creates the deployment compares the current success again. If another
    /// deployment has succeeded meanwhile, or the module was retired, the engine chooses again.
    ///
    /// # Errors
    /// [`Error::NoEarlierSuccess`], [`Error::NotASuccess`]; [`Error::VersionGone`] where the
    /// version was deleted since; [`Error::NothingToUndo`] where what should run changes again and
    /// again. Others as for [`Self::create`].
    pub async fn undo(&self, new: NewUndo) -> Result<Rollback, Error> {
        let request = new.digest();
        if let Some(key) = new.idempotency_key.clone() {
            // What is the earlier success changes with the first request.
            let idempotency = Idempotency { key, request };
            if let Some(first) = self.find_first(&new.requester, &idempotency).await? {
                return self.undone(first).await;
            }
        }
        let mut attempts = 0;
        loop {
            let found = self.find_target(&new).await?;
            match self.create_undo(new.clone(), request, found).await {
                // Another deployment has succeeded meanwhile, or the module was retired.
                Err(Error::NothingToUndo(_)) if attempts < MAX_CHOICES => attempts += 1,
                created => return self.undone(created?).await,
            }
        }
    }

    async fn create_undo(
        &self,
        new: NewUndo,
        request: Digest,
        found: Found,
    ) -> Result<DeploymentId, Error> {
        let Found {
            header,
            undo_from,
            selector,
            mut reason,
        } = found;
        let version = header.module.version.clone();
        let (mut strategy, mut config) = (header.strategy.name, Some(header.config));
        if let Some(why) = self.why_not(&strategy, config.clone()).await? {
            reason = format!("{reason}; by {ROLLBACK_STRATEGY}, because {why}");
            config = None;
            if let Ok(direct) = ROLLBACK_STRATEGY.parse() {
                strategy = direct;
            }
        }
        let again = NewDeployment {
            module: new.module,
            version: Some(version.clone()),
            environment: new.environment,
            strategy: Some(strategy),
            config,
            requester: new.requester,
            description: Some(format!("undo to {version}, {reason}")),
            metadata: BTreeMap::new(),
            require_approval: false,
            selector,
            supersede: false,
            idempotency_key: new.idempotency_key,
        };
        let origin = Origin {
            undo_to: Some(header.id),
            undo_from,
            artifact: Some(header.module),
            request: Some(request),
            ..Origin::default()
        };
        self.create_with(again, origin).await
    }

    /// The answer to the request that created deployment `id`.
    async fn undone(&self, id: DeploymentId) -> Result<Rollback, Error> {
        let Header {
            module,
            description,
            ..
        } = self.at(id, 1).await?.header;
        let version = module.version;
        let reason = description.unwrap_or_default();
        let reason = reason.strip_prefix(&format!("undo to {version}, "));
        Ok(Rollback {
            id,
            reason: reason.unwrap_or_default().to_owned(),
            version,
        })
    }

    async fn find_target(&self, new: &NewUndo) -> Result<Found, Error> {
        let (module, environment) = (&new.module, &new.environment);
        let ids = self
            .journal
            .succeeded_deployments(module, environment, MAX_LOOKED_AT)
            .await?;
        let successes = self.projections.summaries(&ids).await?;
        let (id, selector, reason) = match &new.to {
            None => {
                let current = self.journal.current_deployments(Some(environment)).await?;
                let found = find_before_present(&successes, &current);
                found.ok_or_else(|| Error::NoEarlierSuccess {
                    module: module.clone(),
                    environment: environment.clone(),
                    successes: named(&successes),
                })?
            }
            Some(target) => {
                let found = match target {
                    UndoTarget::Version(version) => {
                        self.find_success_with(version, new, &successes).await?
                    }
                    UndoTarget::Deployment(id) => self.is_success(*id, new).await?.then_some(*id),
                };
                let id = found.ok_or_else(|| Error::NotASuccess {
                    target: match target {
                        UndoTarget::Version(version) => format!("version {version}"),
                        UndoTarget::Deployment(id) => format!("deployment {id}"),
                    },
                    module: module.clone(),
                    environment: environment.clone(),
                    successes: named(&successes),
                })?;
                let header = self.get(id).await?.header;
                return Ok(Found {
                    selector: header.selector.clone(),
                    header,
                    undo_from: None,
                    reason: "as requested".to_owned(),
                });
            }
        };
        Ok(Found {
            header: self.get(id).await?.header,
            undo_from: successes.first().map(|newest| newest.id),
            selector,
            reason,
        })
    }

    /// The newest success of a version of the module in the environment, however many have come
    /// since. `newest` are those that are known.
    async fn find_success_with(
        &self,
        version: &semver::Version,
        new: &NewUndo,
        newest: &[DeploymentSummary],
    ) -> Result<Option<DeploymentId>, Error> {
        let find = |successes: &[DeploymentSummary]| {
            let found = successes
                .iter()
                .find(|success| success.module.version == *version);
            found.map(|success| success.id)
        };
        if let Some(found) = find(newest) {
            return Ok(Some(found));
        }
        let (mut looked_at, mut limit) = (newest.len(), MAX_LOOKED_AT);
        while looked_at == limit {
            limit = limit.saturating_mul(2);
            let ids = self
                .journal
                .succeeded_deployments(&new.module, &new.environment, limit)
                .await?;
            // One that has succeeded meanwhile moves the others back: none is skipped.
            let older = self
                .projections
                .summaries(ids.get(looked_at..).unwrap_or_default());
            if let Some(found) = find(&older.await?) {
                return Ok(Some(found));
            }
            looked_at = ids.len();
        }
        Ok(None)
    }

    /// Whether a deployment is a success of the module in the environment.
    async fn is_success(&self, id: DeploymentId, new: &NewUndo) -> Result<bool, Error> {
        let state = match self.get(id).await {
            Ok(state) => state,
            Err(Error::Unknown(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        Ok(
            matches!(state.status(), Status::Succeeded | Status::Partial)
                && state.header.module.name == new.module
                && state.header.environment == new.environment,
        )
    }

    /// Why a strategy cannot be used with a configuration of earlier, if it cannot.
    async fn why_not(
        &self,
        strategy: &StrategyName,
        config: Option<serde_json::Value>,
    ) -> Result<Option<String>, Error> {
        match self.resolve_strategy(strategy, config).await {
            Ok(_) => Ok(None),
            Err(Error::UnknownStrategy { .. }) => Ok(Some(format!(
                "strategy '{strategy}' does not exist any more"
            ))),
            Err(Error::Config(_) | Error::SoakSettings(_)) => Ok(Some(format!(
                "strategy '{strategy}' does not take the configuration any more"
            ))),
            Err(error) => Err(error),
        }
    }
}

/// The success before the present one, for which nodes, and why that one.
fn find_before_present(
    newest_first: &[DeploymentSummary],
    current: &[DeploymentId],
) -> Option<(DeploymentId, Option<Selector>, String)> {
    let (present, earlier) = newest_first.split_first()?;
    let selector = present.selector.clone();
    if !current.contains(&present.id) {
        let reason = "the last success before the module was retired";
        return Some((present.id, selector, reason.to_owned()));
    }
    let had_its_nodes = |success: &&DeploymentSummary| {
        success.selector.is_none() || success.selector == present.selector
    };
    let other = earlier
        .iter()
        .filter(had_its_nodes)
        .find(|success| success.module != present.module)?;
    let reason = format!("the last success before {}", present.module.version);
    Some((other.id, selector, reason))
}

fn named(successes: &[DeploymentSummary]) -> Vec<Success> {
    let named = successes.iter().map(|success| Success {
        id: success.id,
        version: success.module.version.clone(),
    });
    named.collect()
}
