//! Where a node differs from what it should run, and what happens next. Pure.

use hotswap_core::{Cordon, DeploymentId, Health, ModuleVersion};

use super::repairs::Failure;

/// What a node reports of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Actual {
    /// The active version, if one is.
    Known(Option<ModuleVersion>),
    /// The version that should be active there is not loaded, for this reason.
    NotLoaded(ModuleVersion, String),
    /// The node has not said, or cannot be asked.
    Unknown,
}

/// What happens next about a module on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextStep {
    /// Nothing: it runs what it should, or nothing was decided.
    None,
    /// The engine is changing it.
    Repairing,
    /// The engine will change it, as soon as fewer nodes are being changed.
    Queued,
    /// The engine will try again.
    Retrying(Failure),
    /// The deployment that is changing it decides.
    Deployment(DeploymentId),
    /// A person has cordoned it: the engine leaves it as it is until that ends.
    Cordoned(Cordon),
    /// The engine waits for the node to report in.
    Unreachable,
    /// The node has the version, and tries again to load it; this is why it could not.
    Loading(String),
}

impl NextStep {
    /// Whether the engine is to change the node, now or later.
    pub(super) fn is_due(&self) -> bool {
        match self {
            Self::Repairing | Self::Queued | Self::Retrying(_) | Self::Loading(_) => true,
            Self::None | Self::Deployment(_) | Self::Cordoned(_) | Self::Unreachable => false,
        }
    }
}

/// What is known of a module on a node that was decided about.
pub(super) struct Facts<'a> {
    pub(super) desired: Option<&'a ModuleVersion>,
    pub(super) actual: &'a Actual,
    pub(super) health: Health,
    pub(super) is_under_way: bool,
    /// The open deployment whose plan has the node.
    pub(super) deployment: Option<DeploymentId>,
    /// The node's cordon, if it has one.
    pub(super) cordon: Option<Cordon>,
    /// The failure after which the next attempt is not due yet.
    pub(super) failure: Option<Failure>,
}

/// What happens next.
pub(super) fn next_step(facts: Facts<'_>) -> NextStep {
    if let Some(id) = facts.deployment {
        return NextStep::Deployment(id);
    }
    if facts.is_under_way {
        return NextStep::Repairing;
    }
    match facts.actual {
        Actual::Known(actual) if actual.as_ref() == facts.desired => return NextStep::None,
        Actual::NotLoaded(version, reason) if Some(version) == facts.desired => {
            return NextStep::Loading(reason.clone());
        }
        Actual::Known(_) | Actual::NotLoaded(..) | Actual::Unknown => {}
    }
    if let Some(cordon) = facts.cordon {
        return NextStep::Cordoned(cordon);
    }
    if *facts.actual == Actual::Unknown {
        return NextStep::Unreachable;
    }
    match facts.health {
        Health::Critical | Health::Unknown => return NextStep::Unreachable,
        Health::Passing | Health::Warning => {}
    }
    facts.failure.map_or(NextStep::Queued, NextStep::Retrying)
}

/// How many more nodes may be repaired now: of those that serve another version meanwhile, and
/// of those that serve none.
///
/// A node that serves none loses nothing by being changed: only `fan_out` limits those. The
/// others count towards `max_unavailable`, as do the nodes that a deployment of the module may
/// be changing at the same time.
pub(super) fn room(
    max_unavailable: usize,
    fan_out: usize,
    deploying: usize,
    (serving, idle): (usize, usize),
) -> (usize, usize) {
    let under_way = serving + idle;
    let connections = fan_out.saturating_sub(under_way);
    let changes = max_unavailable.saturating_sub(deploying + serving);
    (changes.min(connections), connections)
}

#[cfg(test)]
mod tests {
    use hotswap_core::{Digest, NodeError, Timestamp};

    use super::*;

    fn version(version: &str) -> ModuleVersion {
        ModuleVersion {
            name: "hello".parse().unwrap(),
            version: version.parse().unwrap(),
            digest: Digest::of(version.as_bytes()),
        }
    }

    fn facts<'a>(desired: Option<&'a ModuleVersion>, actual: &'a Actual) -> Facts<'a> {
        Facts {
            desired,
            actual,
            health: Health::Passing,
            is_under_way: false,
            deployment: None,
            cordon: None,
            failure: None,
        }
    }

    #[test]
    fn a_node_is_repaired_where_it_runs_something_else() {
        let (one, two) = (version("1.0.0"), version("2.0.0"));
        let [runs_one, runs_none] = [Some(one.clone()), None].map(Actual::Known);
        let broken = Actual::NotLoaded(one.clone(), "it is gone".into());
        for (desired, actual, expected) in [
            (Some(&one), &runs_one, NextStep::None),
            (None, &runs_none, NextStep::None),
            (Some(&two), &runs_one, NextStep::Queued),
            (Some(&two), &runs_none, NextStep::Queued),
            (None, &runs_one, NextStep::Queued),
            (Some(&two), &Actual::Unknown, NextStep::Unreachable),
            (Some(&one), &broken, NextStep::Loading("it is gone".into())),
            (Some(&two), &broken, NextStep::Queued),
        ] {
            assert_eq!(next_step(facts(desired, actual)), expected);
        }
    }

    #[test]
    fn a_deployment_comes_first_then_a_repair_then_the_health() {
        let (one, two) = (version("1.0.0"), version("2.0.0"));
        let actual = Actual::Known(Some(one));
        let id = DeploymentId::generate();
        let failure = Failure {
            error: NodeError::Other("no".into()),
            attempts: 2,
            retry_at: Timestamp::from_millis(5),
        };
        let all = || Facts {
            is_under_way: true,
            deployment: Some(id),
            health: Health::Critical,
            failure: Some(failure.clone()),
            ..facts(Some(&two), &actual)
        };
        assert_eq!(next_step(all()), NextStep::Deployment(id));
        let deployment = None;
        assert_eq!(
            next_step(Facts {
                deployment,
                ..all()
            }),
            NextStep::Repairing
        );
        let is_under_way = false;
        let unreachable = Facts {
            deployment,
            is_under_way,
            ..all()
        };
        assert_eq!(next_step(unreachable), NextStep::Unreachable);
        let health = Health::Warning;
        let failed = Facts {
            deployment,
            is_under_way,
            health,
            ..all()
        };
        assert_eq!(next_step(failed), NextStep::Retrying(failure));
    }

    #[test]
    fn a_cordoned_node_is_left_as_it_is_but_what_is_under_way_ends() {
        let (one, two) = (version("1.0.0"), version("2.0.0"));
        let cordon = Cordon {
            drained: false,
            by: "ada".into(),
            reason: None,
            since: Timestamp::from_millis(1),
        };
        let cordoned = |actual| Facts {
            cordon: Some(cordon.clone()),
            ..facts(Some(&two), actual)
        };
        let runs_one = Actual::Known(Some(one));
        let left = NextStep::Cordoned(cordon.clone());
        assert_eq!(next_step(cordoned(&runs_one)), left);
        assert_eq!(next_step(cordoned(&Actual::Unknown)), left);
        let gone = Facts {
            health: Health::Critical,
            ..cordoned(&runs_one)
        };
        assert_eq!(next_step(gone), left);
        let under_way = Facts {
            is_under_way: true,
            ..cordoned(&runs_one)
        };
        assert_eq!(next_step(under_way), NextStep::Repairing);
        let runs_two = Actual::Known(Some(two.clone()));
        assert_eq!(next_step(cordoned(&runs_two)), NextStep::None);
    }

    #[test]
    fn nodes_that_serve_share_max_unavailable_with_deployments() {
        assert_eq!(room(2, 128, 0, (0, 0)), (2, 128));
        assert_eq!(room(2, 128, 1, (1, 5)), (0, 122));
        assert_eq!(room(2, 128, 2, (0, 0)), (0, 128));
        assert_eq!(room(50, 10, 0, (4, 6)), (0, 0));
    }
}
