//! How deployments begin.

use std::collections::BTreeSet;
use std::time::Duration;

use hotswap_common::trace;
use hotswap_core::{
    Deployment, DeploymentId, Header, Health, Idempotency, ModuleName, ModuleVersion, Node,
    Requester, StrategyName, StrategyRef,
};
use hotswap_plugins::Strategy;
use hotswap_store::{CreateError, ModuleRecord};
use semver::Version;

use super::new_deployment::Origin;
use super::{Deployments, Error, NewDeployment, rehearsal};
use crate::driver::is_reachable;
use crate::{soak_probes, soak_queries};

/// How often to look for the record of a version that another engine has deleted, and may put back.
const KEPT_ATTEMPTS: u32 = 20;
/// The time between two looks.
const KEPT_INTERVAL: Duration = Duration::from_millis(100);
/// Who aborts a deployment whose version is gone.
const ENGINE: &str = "engine";

impl Deployments {
    /// Creates a deployment, which the engine then drives. Once this returns, it cannot be lost.
    ///
    /// Returns the first deployment again where the requester repeats a request under the same
    /// idempotency key.
    ///
    /// # Errors
    /// [`Error::KeyReused`] where the key belongs to another request. [`Error::Busy`] where
    /// another deployment of the module in the environment has not ended, unless the new one
    /// supersedes it; [`Error::DamagedPredecessor`] where it cannot. [`Error::UnreadablePolicy`].
    /// [`Error::ExceedsDeadline`] where the strategy waits for longer than the policy allows.
    /// [`Error::NoneSelected`] where the selector matches no node.
    /// Others where the module, the version, the strategy or the nodes do not exist,
    /// or the configuration is not valid.
    pub async fn create(&self, new: NewDeployment) -> Result<DeploymentId, Error> {
        self.create_with(new, Origin::default()).await
    }

    pub(super) async fn create_with(
        &self,
        new: NewDeployment,
        origin: Origin,
    ) -> Result<DeploymentId, Error> {
        let request = new.digest(&origin);
        let idempotency = new
            .idempotency_key
            .clone()
            .map(|key| Idempotency { key, request });
        // Before anything is looked up: what the first request found may be gone by now.
        if let Some(idempotency) = &idempotency
            && let Some(first) = self.find_first(&new.requester, idempotency).await?
        {
            return Ok(first);
        }
        // Until the journal names them, nothing protects the module and the strategy.
        let _references = self.references.add().await;
        let supersede = new.supersede;
        let (strategy, header) = self.prepare(new, origin, idempotency).await?;
        self.check_fits_deadline(&strategy, &header).await?;
        let module = header.module.clone();
        let own = header.id;
        let id = self.begin(header, supersede).await?;
        if id == own {
            self.check_kept(id, module).await?;
        }
        Ok(id)
    }

    /// Checks that the version of a deployment is still there. Our references do not bind other
    /// engines: another engine may have decided to delete the version just before this journal was
    /// written. That engine reads the journals again, and restores the record if it finds this
    /// deployment. If it read them too early, the record stays deleted, and this deployment is
    /// aborted.
    ///
    /// # Errors
    /// [`Error::VersionGone`]; others if the store fails.
    async fn check_kept(&self, id: DeploymentId, module: ModuleVersion) -> Result<(), Error> {
        for _ in 0..KEPT_ATTEMPTS {
            let record = self.catalogue.module(&module.name, &module.version).await;
            if record.map_err(Error::Store)?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(KEPT_INTERVAL).await;
        }
        let reason = format!("{module} was deleted while the deployment was requested");
        match self.abort(id, ENGINE, Some(reason)).await {
            Ok(_) | Err(Error::IllegalTransition(_)) => Err(Error::VersionGone(module)),
            Err(error) => Err(error),
        }
    }

    /// The strategy and the header of a deployment, with a new id.
    ///
    /// # Errors
    /// Where something that the request names does not exist, the configuration is not valid, or
    /// the deployment would be for no node.
    pub(super) async fn prepare(
        &self,
        new: NewDeployment,
        origin: Origin,
        idempotency: Option<Idempotency>,
    ) -> Result<(Strategy, Header), Error> {
        let module = self.resolve_module(&new, origin.artifact).await?;
        let policy = self.environments.readable_policy(&new.environment);
        let policy = policy.map_err(Error::UnreadablePolicy)?;
        let name = new
            .strategy
            .unwrap_or_else(|| policy.default_strategy.clone());
        let (strategy, pin, config) = self.resolve_strategy(&name, new.config).await?;
        let header = Header {
            id: DeploymentId::generate(),
            module,
            environment: new.environment,
            selector: new.selector,
            strategy: pin,
            config,
            policy,
            limits: self.strategy_limits,
            requester: new.requester,
            description: new.description,
            metadata: new.metadata,
            require_approval: new.require_approval,
            rollback_of: origin.rollback_of,
            retry_of: origin.retry_of,
            undo_to: origin.undo_to,
            undo_from: origin.undo_from,
            supersedes: None,
            trace: trace::current().map(|context| context.to_string()),
            idempotency,
        };
        self.check_view(&header)?;
        self.check_has_nodes(&header)?;
        Ok((strategy, header))
    }

    /// Who goes back must not wait for a registry.
    ///
    /// # Errors
    /// [`Error::StaleView`] where a source of the environment has failed for too long.
    fn check_view(&self, header: &Header) -> Result<(), Error> {
        let goes_back = header.rollback_of.is_some() || header.undo_to.is_some();
        let view = self.fleet_view.get().filter(|_| !goes_back);
        let now = self.clock.instant();
        match view.and_then(|view| view.stale_source(&header.environment, now)) {
            Some(stale) => Err(Error::StaleView {
                environment: header.environment.clone(),
                stale,
            }),
            None => Ok(()),
        }
    }

    /// # Errors
    /// [`Error::NoNodes`], or [`Error::NoneSelected`] where the selector is why.
    fn check_has_nodes(&self, header: &Header) -> Result<(), Error> {
        let environment = &header.environment;
        let members = self.registry.members_of(environment);
        if members.is_empty() {
            let view = self.fleet_view.get();
            return Err(Error::NoNodes {
                environment: environment.clone(),
                problems: view.map_or_else(Vec::new, |view| view.problems(environment)),
            });
        }
        let mut labels = members.iter().map(|member| member.record.labels());
        match &header.selector {
            Some(selector) if !labels.any(|labels| selector.matches(labels)) => {
                let labels = members.iter().flat_map(|member| {
                    let labels = member.record.labels();
                    labels.iter().map(|(key, value)| format!("{key}={value}"))
                });
                let labels: BTreeSet<_> = labels.collect();
                Err(Error::NoneSelected {
                    environment: environment.clone(),
                    selector: selector.clone(),
                    labels: labels.into_iter().collect(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Begins the journal. Durable once this returns.
    async fn begin(&self, mut header: Header, supersede: bool) -> Result<DeploymentId, Error> {
        loop {
            match self.journal.create(header.clone(), self.clock.now()).await {
                // The supervisor learns of it from the store, also where nobody waits here any
                // more.
                Ok(()) => return Ok(header.id),
                // A retry that was faster than this request, or the other way round.
                Err(CreateError::Repeated(first)) => {
                    return self.check_repeated(first, header.idempotency).await;
                }
                Err(CreateError::Busy(by)) if supersede => {
                    self.check_driven(by).await?;
                    header.supersedes = Some(by);
                }
                // It has ended just now, so there is nothing to wait for.
                Err(CreateError::NothingToSupersede(_)) => header.supersedes = None,
                Err(CreateError::Busy(by)) => return Err(Error::Busy { by }),
                Err(CreateError::NothingToUndo(from)) => return Err(Error::NothingToUndo(from)),
                Err(CreateError::Full) => return Err(Error::Full),
                Err(CreateError::Store(source)) => return Err(Error::Store(source)),
            }
        }
    }

    /// Checks that an abort of a deployment would be acted on.
    ///
    /// # Errors
    /// [`Error::DamagedPredecessor`] where nothing drives it.
    async fn check_driven(&self, by: DeploymentId) -> Result<(), Error> {
        match self.get(by).await {
            Ok(Deployment {
                damage: Some(damage),
                lifecycle,
                ..
            }) if !lifecycle.is_ended() => Err(Error::DamagedPredecessor { by, damage }),
            Ok(_) | Err(Error::Unknown(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The deployment that the same request has created before.
    pub(super) async fn find_first(
        &self,
        requester: &Requester,
        idempotency: &Idempotency,
    ) -> Result<Option<DeploymentId>, Error> {
        let (subject, key) = (&requester.subject, &idempotency.key);
        match self.journal.find_request(subject, key).await? {
            Some(first) => self
                .check_repeated(first, Some(idempotency.clone()))
                .await
                .map(Some),
            None => Ok(None),
        }
    }

    /// Returns `first` where the same request created it.
    async fn check_repeated(
        &self,
        first: DeploymentId,
        idempotency: Option<Idempotency>,
    ) -> Result<DeploymentId, Error> {
        if self.at(first, 1).await?.header.idempotency == idempotency {
            Ok(first)
        } else {
            Err(Error::KeyReused { by: first })
        }
    }

    /// The version to roll out. Where `artifact` names one, it must still have that artifact.
    async fn resolve_module(
        &self,
        new: &NewDeployment,
        artifact: Option<ModuleVersion>,
    ) -> Result<ModuleVersion, Error> {
        let records = self.catalogue.modules(Some(&new.module)).await;
        let found = find_version(
            &new.module,
            new.version.as_ref(),
            &records.map_err(Error::Store)?,
        );
        match (found, artifact) {
            (Ok(module), Some(artifact)) if module != artifact => Err(Error::VersionGone(artifact)),
            (Err(Error::UnknownModule(_) | Error::UnknownVersion { .. }), Some(artifact)) => {
                Err(Error::VersionGone(artifact))
            }
            (found, _) => found,
        }
    }

    /// Checks that the waits of the strategy fit into the deadline, where a rehearsal can tell.
    ///
    /// # Errors
    /// [`Error::ExceedsDeadline`] where they do not fit even if all goes well.
    async fn check_fits_deadline(&self, strategy: &Strategy, header: &Header) -> Result<(), Error> {
        let environment = &header.environment;
        let members = self.registry.members_of(environment);
        let selected = members
            .iter()
            .filter(|member| header.selects(member.record.labels()));
        let registered = selected.map(|member| Node {
            id: member.record.id.clone(),
            zone: member.record.zone.clone(),
            labels: member.record.labels.clone(),
            health: Health::Passing,
            active: None,
            fault: None,
        });
        if self
            .time_beyond_deadline(strategy, header, registered.collect())
            .await
            .is_none()
        {
            return Ok(());
        }
        // It may take less than with all registered nodes: some may be gone, and some may run
        // the version already. Only now ask them, which takes time.
        let nodes = self.fleet.nodes(environment, &header.module.name).await;
        let mut nodes = nodes.unwrap_or_default();
        nodes.retain(|node| is_reachable(node) && header.selects(node.labels()));
        let count = nodes.len();
        let shortest = self.time_beyond_deadline(strategy, header, nodes).await;
        shortest.map_or(Ok(()), |shortest| {
            Err(Error::ExceedsDeadline {
                strategy: header.strategy.name.clone(),
                environment: environment.clone(),
                nodes: count,
                shortest,
                deadline: header.policy.deadline,
            })
        })
    }

    /// How long the strategy takes at least for these nodes, where that is beyond the deadline.
    async fn time_beyond_deadline(
        &self,
        strategy: &Strategy,
        header: &Header,
        nodes: Vec<Node>,
    ) -> Option<Duration> {
        let plan = rehearsal::plan(header, nodes);
        let rehearsed = rehearsal::run(strategy, &plan, self.clock.now(), 0).await;
        let shortest = rehearsed.shortest();
        shortest.filter(|shortest| *shortest >= header.policy.deadline)
    }

    /// The strategy, its pin, and its full configuration.
    pub(super) async fn resolve_strategy(
        &self,
        name: &StrategyName,
        config: Option<serde_json::Value>,
    ) -> Result<(Strategy, StrategyRef, serde_json::Value), Error> {
        let Some(record) = self.strategies.get(name).await? else {
            let known = self.strategies.list().await?;
            let known = known.into_iter().map(|record| record.name).collect();
            return Err(Error::UnknownStrategy {
                name: name.clone(),
                known,
            });
        };
        let pin = StrategyRef {
            name: record.name,
            version: record.version,
            digest: record.digest,
            wit: record.wit,
        };
        let strategy = self.strategies.load(pin.digest).await?;
        let config = strategy.configure(config).map_err(Error::Config)?;
        soak_queries::check(&config, &self.metric_providers).map_err(Error::SoakSettings)?;
        soak_probes::check(&config).map_err(Error::SoakSettings)?;
        Ok((strategy, pin, config))
    }
}

/// The module version among all of the module. Where none is named, the newest that is not a
/// pre-release: nobody deploys a release candidate without naming it.
fn find_version(
    name: &ModuleName,
    version: Option<&Version>,
    records: &[ModuleRecord],
) -> Result<ModuleVersion, Error> {
    let mut versions = records.iter().map(|record| &record.module);
    let found = match version {
        Some(version) => versions.find(|module| module.version == *version),
        None => versions
            .filter(|module| module.version.pre.is_empty())
            .max_by(|one, other| one.version.cmp(&other.version)),
    };
    if let Some(module) = found {
        return Ok(module.clone());
    }
    let module = name.clone();
    let known: Vec<_> = records
        .iter()
        .map(|record| record.module.version.clone())
        .collect();
    Err(match version {
        _ if known.is_empty() => Error::UnknownModule(module),
        Some(version) => Error::UnknownVersion {
            module,
            version: version.clone(),
            known,
        },
        None => Error::OnlyPreReleases { module, known },
    })
}

#[cfg(test)]
mod tests {
    use hotswap_core::{Digest, Timestamp};

    use super::*;

    fn find(version: Option<&str>, uploaded: &[&str]) -> Result<String, String> {
        let name: ModuleName = "hello".parse().unwrap();
        let record = |version: &&str| ModuleRecord {
            module: ModuleVersion {
                name: name.clone(),
                version: version.parse().unwrap(),
                digest: Digest::of(version.as_bytes()),
            },
            size: 1,
            uploaded_at: Timestamp::from_millis(0),
            uploaded_by: "ada".into(),
        };
        let records: Vec<_> = uploaded.iter().map(record).collect();
        let version = version.map(|version| version.parse().unwrap());
        find_version(&name, version.as_ref(), &records)
            .map(|module| module.version.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_newest_release_is_found_where_no_version_is_named() {
        let uploaded = ["1.9.0", "1.10.0", "1.10.0-rc.1", "2.0.0-rc.1"];
        assert_eq!(find(None, &uploaded).as_deref(), Ok("1.10.0"));
        assert_eq!(find(Some("1.9.0"), &uploaded).as_deref(), Ok("1.9.0"));
    }

    #[test]
    fn a_pre_release_must_be_named() {
        let uploaded = ["1.0.0-rc.1", "1.0.0-rc.2"];
        let error = find(None, &uploaded).unwrap_err();
        assert_eq!(error, "every version of module 'hello' is a pre-release");
        let named = find(Some("1.0.0-rc.1"), &uploaded);
        assert_eq!(named.as_deref(), Ok("1.0.0-rc.1"));
    }

    #[test]
    fn an_unknown_version_and_an_unknown_module_are_different_errors() {
        let unknown_version = "module 'hello' has no version 2.0.0";
        assert_eq!(
            find(Some("2.0.0"), &["1.0.0"]).unwrap_err(),
            unknown_version
        );
        for version in [None, Some("2.0.0")] {
            assert_eq!(find(version, &[]).unwrap_err(), "no module 'hello'");
        }
    }
}
