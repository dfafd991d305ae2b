//! Maps the engine's errors to problems. No match has a wildcard arm: a new variant must get
//! its status here before the crate compiles.

use std::fmt::Display;

use hotswap_fleet::registry;
use hotswap_runner::reconciler::RetireError;
use hotswap_runner::{
    FenceError, deployments, discovery_backends, modules, nodes, policies, strategies,
};
use hotswap_store::ReadError;

use super::{FieldError, Kind, Problem, error_chain};

impl From<deployments::Error> for Problem {
    fn from(error: deployments::Error) -> Self {
        use deployments::Error as E;
        match error {
            E::Unknown(id) => Self::new(
                Kind::UnknownDeployment,
                format!("deployment {id} does not exist, or was deleted after its end; list deployments with GET /api/v1/deployments"),
            ),
            E::Busy { by } => Self::new(
                Kind::DeploymentRunning,
                format!(
                    "deployment {by} of this module in this environment has not ended; wait for it to end, or abort it: POST /api/v1/deployments/{by}/abort; a new deployment with `supersede` (hotswap deploy --supersede) does both"
                ),
            )
            .with_deployment(by),
            E::NotEnded(id) => Self::new(
                Kind::DeploymentRunning,
                format!(
                    "deployment {id} has not ended; wait for it to end, or abort it: POST /api/v1/deployments/{id}/abort"
                ),
            )
            .with_deployment(id),
            E::HasSucceeded(id) => Self::new(
                Kind::IllegalState,
                format!(
                    "deployment {id} has succeeded, so there is nothing to try again; to go back, roll it back: POST /api/v1/deployments/{id}/rollback"
                ),
            ),
            E::DamagedPredecessor { by, ref damage } => Self::new(
                Kind::DamagedJournal,
                format!(
                    "deployment {by} cannot be superseded, because nothing would act on an abort: {damage}; an admin can terminate it: hotswap deployment terminate {by}"
                ),
            ),
            E::UnreadablePolicy(policy) => Self::new(
                Kind::UnreadablePolicy,
                format!(
                    "{policy}; an admin can replace it (PUT) or remove it (DELETE): /api/v1/environments/{}", policy.environment
                ),
            ),
            E::KeyReused { by } => Self::new(
                Kind::IdempotencyKeyReused,
                format!(
                    "this Idempotency-Key belongs to another request, which created deployment {by}; generate a new key for each request, and reuse it only to repeat that request"
                ),
            )
            .with_deployment(by),
            E::IllegalTransition(why) => Self::new(
                Kind::IllegalState,
                format!("{why}; check its status with GET /api/v1/deployments/{{id}}"),
            ),
            E::WaitOver(id) => Self::new(
                Kind::IllegalState,
                format!(
                    "what this request is about is over, and the deployment waits for something else; read its question with GET /api/v1/deployments/{id}, and send its waitId as `wait`"
                ),
            ),
            E::Damaged(damage) => Self::new(
                Kind::DamagedJournal,
                format!(
                    "{damage}; to give the deployment up and revert its nodes, an admin can terminate it: POST /api/v1/deployments/{{id}}/terminate"
                ),
            ),
            E::NotDamaged(id) => Self::new(
                Kind::IllegalState,
                format!(
                    "the journal of this deployment can be read, so it need not be terminated; abort it instead: POST /api/v1/deployments/{id}/abort"
                ),
            ),
            E::UnknownModule(ref name) => invalid(
                "/moduleName",
                format!(
                    "module '{name}' does not exist; upload a version of it first: PUT /api/v1/modules/{name}/versions/1.0.0"
                ),
            ),
            E::UnknownVersion {
                ref module,
                ref version,
                ref known,
            } => invalid(
                "/version",
                format!("module '{module}' has no version {version}; its versions are: {}", listed(known)),
            ),
            E::VersionGone(ref module) => Self::new(
                Kind::VersionGone,
                format!("version {} of module '{}' ({}) was deleted since; upload it again, or deploy another version", module.version, module.name, module.digest),
            ),
            E::OnlyPreReleases { ref module, ref known } => invalid(
                "/version",
                format!("every version of module '{module}' is a pre-release; name the one to deploy: {}", listed(known)),
            ),
            E::UnknownStrategy { ref name, ref known } => invalid(
                "/strategy",
                format!("strategy '{name}' does not exist; the strategies are: {}", listed(known)),
            ),
            E::Config(error) => config(&error),
            E::SoakSettings(ref reason) => {
                let field = FieldError::in_body("/config", reason);
                Self::new(Kind::InvalidConfig, error.to_string()).with_errors(vec![field])
            }
            E::ExceedsDeadline { ref environment, .. } => Self::new(
                Kind::ExceedsDeadline,
                format!(
                    "{error}; configure shorter waits or larger steps, or raise `deadline` of environments.{environment} in the engine's configuration"
                ),
            ),
            E::StaleView { ref stale, .. } => Self::new(
                Kind::StaleView,
                format!(
                    "{error}; bring the registry back and run: hotswap discovery check {}, or raise `maxAge` of the source in the engine's configuration; a rollback is not refused",
                    stale.name
                ),
            ),
            E::NoNodes {
                ref environment,
                ref problems,
            } => {
                let advice = match problems.first() {
                    Some(first) => {
                        format!("to see all of it, run: hotswap discovery get {}", first.source)
                    }
                    None => format!("start one: hotswap node run --environment {environment}"),
                };
                Self::new(Kind::NoNodes, format!("{error}; {advice}"))
            }
            E::NoneSelected { ref labels, .. } => Self::new(
                Kind::NoneSelected,
                format!(
                    "{error}; its nodes have the labels: {}; GET /api/v1/nodes shows which node has which",
                    listed(labels)
                ),
            ),
            E::NoPreviousVersion(id) => Self::new(
                Kind::NothingBefore,
                format!(
                    "the nodes ran no version of the module before deployment {id}; create a deployment of the version you want instead"
                ),
            ),
            E::DifferentPreviousVersions { id, .. } => Self::new(
                Kind::NothingBefore,
                format!("{error}; name the version: hotswap rollback {id} --to VERSION"),
            ),
            E::NoEarlierSuccess { ref module, ref environment, ref successes } => Self::new(
                Kind::NothingBefore,
                format!("no deployment of another version of '{module}' succeeded in {environment} before; its successes are: {}", listed(successes)),
            ),
            E::NothingToUndo(_) => Self::new(
                Kind::IllegalState,
                format!("{error}, because another one has succeeded just now, or its module was retired; undo again"),
            ),
            E::NotASuccess { ref successes, .. } => Self::new(
                Kind::NothingBefore,
                format!("{error}; its successes are: {}", listed(successes)),
            ),
            E::NothingToCompare(_) => Self::new(
                Kind::NothingBefore,
                format!("{error}; name the one to compare it with: `with`"),
            ),
            E::InUse { .. } => Self::new(Kind::InUse, error.to_string()),
            E::Full => disk_full(),
            E::Strategy(error) => error.into(),
            E::Store(source) => unavailable(&*source),
        }
    }
}

impl From<modules::Error> for Problem {
    fn from(error: modules::Error) -> Self {
        use modules::Error as E;
        match error {
            E::VersionExists(_) => Self::new(Kind::VersionTaken, error.to_string()),
            E::InvalidArtifact(reason) => Self::new(Kind::NotAModule, error_chain(&reason)),
            E::TooLarge { .. } => Self::new(Kind::PayloadTooLarge, error.to_string()),
            E::InUse { .. } => Self::new(Kind::InUse, error.to_string()),
            E::Full => disk_full(),
            E::Store(source) => unavailable(&*source),
        }
    }
}

impl From<strategies::Error> for Problem {
    fn from(error: strategies::Error) -> Self {
        use strategies::Error as E;
        match error {
            E::InvalidComponent(reason) => Self::new(Kind::NotAStrategy, error_chain(&reason)),
            E::BuiltIn(_) => Self::new(Kind::BuiltInStrategy, error.to_string()),
            E::Contended(_) => Self::new(Kind::Unavailable, error.to_string()),
            E::MissingComponent(_) => Self::new(
                Kind::Unavailable,
                format!("{error}; upload the strategy again"),
            )
            .with_cause(&error),
            E::Full => disk_full(),
            E::Store(source) => unavailable(&*source),
        }
    }
}

impl From<discovery_backends::Error> for Problem {
    fn from(error: discovery_backends::Error) -> Self {
        use discovery_backends::Error as E;
        match error {
            E::InvalidComponent(reason) => Self::new(Kind::NotABackend, error_chain(&reason)),
            E::BuiltIn(_) => Self::new(Kind::BuiltInBackend, error.to_string()),
            E::InUse { .. } => Self::new(
                Kind::InUse,
                format!("{error}; remove the source and restart the engine first"),
            ),
            E::NoRoom(source) => unavailable(&source),
            E::Full => disk_full(),
            E::Store(source) => unavailable(&*source),
        }
    }
}

impl From<registry::Error> for Problem {
    fn from(error: registry::Error) -> Self {
        use registry::Error as E;
        match error {
            E::Invalid(why) => Self::new(Kind::InvalidRequest, why),
            E::Taken { .. } => Self::new(Kind::NodeIdTaken, error.to_string()),
            E::Load(source) | E::Save { source, .. } | E::Delete { source, .. } => {
                unavailable(&*source)
            }
        }
    }
}

impl From<FenceError> for Problem {
    fn from(error: FenceError) -> Self {
        match error {
            FenceError::Absurd(_) => invalid("/highestFence", error.to_string()),
            FenceError::Store(source) => unavailable(&source),
        }
    }
}

impl From<RetireError> for Problem {
    fn from(error: RetireError) -> Self {
        use RetireError as E;
        match error {
            E::NotDesired {
                ref environment, ..
            } => Self::new(
                Kind::UnknownModule,
                format!(
                    "{error}; GET /api/v1/clusters/{environment} lists the modules that should"
                ),
            ),
            E::Busy(id) => deployments::Error::NotEnded(id).into(),
            E::Full => disk_full(),
            E::Store(source) => unavailable(&*source),
        }
    }
}

impl From<policies::Error> for Problem {
    fn from(error: policies::Error) -> Self {
        use policies::Error as E;
        match error {
            E::Changed {
                ref environment, ..
            } => Self::new(
                Kind::PolicyChanged,
                format!(
                    "{error}; read it with GET /api/v1/environments/{environment}, and send its \
                     ETag as If-Match"
                ),
            ),
            E::OutOfRange(ref range) => {
                invalid(&format!("/policy/{}", range.key), range.to_string())
            }
            E::UnknownStrategy { ref known, .. } => invalid(
                "/policy/defaultStrategy",
                format!("{error}; the strategies are: {}", listed(known)),
            ),
            E::Full => disk_full(),
            E::Store(source) => unavailable(&*source),
        }
    }
}

impl From<nodes::Error> for Problem {
    fn from(error: nodes::Error) -> Self {
        use nodes::Error as E;
        match error {
            E::Unknown(id) => Self::new(
                Kind::UnknownNode,
                format!("node '{id}' is not registered; list nodes with GET /api/v1/nodes"),
            ),
            E::TooManyUnavailable { .. } => Self::new(
                Kind::TooManyUnavailable,
                format!(
                    "{error}, so this one is not drained; start or uncordon others first, or send \
                     force: true to drain it all the same"
                ),
            ),
            E::Contended(_) => Self::new(
                Kind::Unavailable,
                format!("{error}, so nothing was changed; look at the nodes, then retry"),
            ),
            E::Full => disk_full(),
            E::Store(source) => unavailable(&*source),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        unavailable(&error)
    }
}

fn unavailable(source: &(dyn std::error::Error + Send + Sync + 'static)) -> Problem {
    let detail =
        "the store failed, and the request may have been carried out; check the state, then retry";
    Problem::new(Kind::Unavailable, detail).with_cause(source)
}

fn disk_full() -> Problem {
    let detail = "the engine's disk is full: running deployments continue, and new deployments and uploads are refused; free some room on the disk of its data folder, or delete module versions and ended deployments, then retry; GET /api/v1/store/usage shows what takes the room";
    Problem::new(Kind::DiskFull, detail)
}

fn invalid(pointer: &str, detail: String) -> Problem {
    let errors = vec![FieldError::in_body(pointer, &detail)];
    Problem::new(Kind::InvalidRequest, detail).with_errors(errors)
}

fn config(error: &hotswap_plugins::ConfigError) -> Problem {
    let errors = error.problems().iter().map(|problem| {
        let pointer = format!("/config{}", problem.pointer);
        FieldError::in_body(pointer, &problem.message)
    });
    Problem::new(Kind::InvalidConfig, error.to_string()).with_errors(errors.collect())
}

/// The first items, separated by commas, and how many more there are.
fn listed(items: &[impl Display]) -> String {
    /// Nobody reads a longer list.
    const SHOWN: usize = 20;
    let shown: Vec<_> = items.iter().take(SHOWN).map(ToString::to_string).collect();
    match items.len().checked_sub(SHOWN) {
        _ if items.is_empty() => "none".to_owned(),
        Some(more) if more > 0 => format!("{} and {more} more", shown.join(", ")),
        _ => shown.join(", "),
    }
}
