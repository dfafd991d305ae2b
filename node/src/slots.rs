use hotswap_protocol::{Action, Promote, Revert, Shift, Stage, Version};
use serde::{Deserialize, Serialize};

/// Which versions of a module a node holds, and how requests are shared out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Slots {
    pub(crate) active: Option<Version>,
    pub(crate) staged: Option<Version>,
    pub(crate) previous: Option<Version>,
    /// Of the requests, the share that `staged` gets.
    pub(crate) percent: u8,
}

/// An order that does not fit what the slots hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// The order needs a version in the slot `staged` which is not there.
    #[error("version {} ({}) is not staged here: {}; stage it first", wanted.version, wanted.digest, found(staged))]
    NotStaged {
        /// What it needs.
        wanted: Version,
        /// What is there.
        staged: Option<Version>,
    },
    /// More than all requests.
    #[error("{0} is no percentage: 0 to 100 is")]
    Percent(u8),
}

fn found(staged: &Option<Version>) -> String {
    match staged {
        Some(version) => format!("version {} ({}) is", version.version, version.digest),
        None => "no version is".to_owned(),
    }
}

impl Slots {
    /// The slots after an order. Repeating an order changes nothing.
    ///
    /// # Errors
    /// Where the order does not fit; nothing is to be done then.
    pub(crate) fn next(&self, action: &Action) -> Result<Self, Misfit> {
        let mut next = self.clone();
        match action {
            Action::Stage(Stage { version }) => {
                let held = [&self.active, &self.staged];
                if !held.contains(&&Some(version.clone())) {
                    next.staged = Some(version.clone());
                    next.percent = 0;
                }
            }
            Action::Shift(Shift { version, percent }) => {
                if *percent > 100 {
                    return Err(Misfit::Percent(*percent));
                }
                // Whoever shifts to the active version has all requests there already.
                if self.active.as_ref() != Some(version) {
                    self.expect_staged(version)?;
                    next.percent = *percent;
                }
            }
            Action::Promote(Promote { version }) => {
                if self.active.as_ref() != Some(version) {
                    self.expect_staged(version)?;
                    next = Self {
                        active: self.staged.clone(),
                        staged: None,
                        previous: self.active.clone(),
                        percent: 0,
                    };
                }
            }
            Action::Revert(Revert { to }) => {
                next = Self {
                    active: to.clone(),
                    ..Self::default()
                };
            }
            Action::Settle(_) => {
                next = Self {
                    active: self.active.clone(),
                    ..Self::default()
                };
            }
        }
        Ok(next)
    }

    /// The version of each slot that holds one.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &Version> {
        [&self.active, &self.staged, &self.previous]
            .into_iter()
            .flatten()
    }

    fn expect_staged(&self, wanted: &Version) -> Result<(), Misfit> {
        if self.staged.as_ref() == Some(wanted) {
            return Ok(());
        }
        Err(Misfit::NotStaged {
            wanted: wanted.clone(),
            staged: self.staged.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use hotswap_protocol::Settle;

    use super::*;

    fn version(number: u8) -> Version {
        Version {
            version: format!("{number}.0.0"),
            digest: format!("sha256:{number:064}"),
        }
    }

    fn stage(number: u8) -> Action {
        Action::Stage(Stage {
            version: version(number),
        })
    }

    fn promote(number: u8) -> Action {
        Action::Promote(Promote {
            version: version(number),
        })
    }

    fn revert(number: Option<u8>) -> Action {
        Action::Revert(Revert {
            to: number.map(version),
        })
    }

    fn shift(number: u8, percent: u8) -> Action {
        Action::Shift(Shift {
            version: version(number),
            percent,
        })
    }

    fn after(actions: &[Action]) -> Slots {
        actions.iter().fold(Slots::default(), |slots, action| {
            let next = slots.next(action).unwrap();
            assert_eq!(next.next(action).unwrap(), next, "{action:?} repeated");
            next
        })
    }

    #[test]
    fn a_rollout_moves_versions_through_the_slots() {
        let settle = Action::Settle(Settle {});
        let slots = after(&[stage(1), promote(1), settle.clone(), stage(2), shift(2, 30)]);
        assert_eq!(slots.active, Some(version(1)));
        assert_eq!(
            (slots.staged.clone(), slots.percent),
            (Some(version(2)), 30)
        );
        let slots = slots.next(&promote(2)).unwrap();
        assert_eq!(slots.active, Some(version(2)));
        assert_eq!(slots.previous, Some(version(1)));
        assert_eq!(slots.percent, 0);
        let slots = slots.next(&settle).unwrap();
        assert_eq!(slots.versions().collect::<Vec<_>>(), [&version(2)]);
    }

    #[test]
    fn a_revert_leaves_that_version_alone() {
        for to in [None, Some(1), Some(2), Some(3)] {
            let slots = after(&[
                stage(1),
                promote(1),
                stage(2),
                promote(2),
                stage(3),
                revert(to),
            ]);
            let only = Slots {
                active: to.map(version),
                ..Slots::default()
            };
            assert_eq!(slots, only);
        }
    }

    #[test]
    fn orders_need_their_version_staged() {
        let slots = after(&[stage(1), promote(1), stage(2)]);
        for action in [promote(3), shift(3, 10)] {
            let error = slots.next(&action).unwrap_err().to_string();
            assert!(error.contains("version 3.0.0"), "{error}");
            assert!(error.contains("version 2.0.0"), "{error}");
        }
        assert_eq!(slots.next(&shift(2, 101)), Err(Misfit::Percent(101)));
    }

    #[test]
    fn orders_for_the_active_version_change_nothing() {
        let slots = after(&[stage(1), promote(1)]);
        for action in [stage(1), shift(1, 30), promote(1)] {
            assert_eq!(slots.next(&action).unwrap(), slots);
        }
    }

    #[test]
    fn staging_another_takes_its_share_back() {
        let slots = after(&[stage(1), promote(1), stage(2), shift(2, 50), stage(3)]);
        assert_eq!((slots.staged, slots.percent), (Some(version(3)), 0));
    }
}
