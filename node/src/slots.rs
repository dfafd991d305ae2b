use hotswap_protocol::{Action, Promote, Restart, Revert, Shift, Stage, Version};
use serde::{Deserialize, Serialize};

/// The versions of a module that a node holds, and the share of requests for `staged`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Slots {
    pub(crate) active: Option<Version>,
    pub(crate) staged: Option<Version>,
    pub(crate) previous: Option<Version>,
    /// Percentage of requests that `staged` serves, 0 to 100.
    pub(crate) percent: u8,
}

/// Why an order cannot be applied to the slots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The order needs a version in the slot `staged` that is not there.
    #[error("version {} ({}) is not staged on this node: {}; stage it first", wanted.version, wanted.digest, describe(staged.as_ref(), "staged"))]
    NotStaged {
        /// The version that the order needs.
        wanted: Version,
        /// The version that is staged.
        staged: Option<Version>,
    },
    /// The order is for the active version, and another one is, or none.
    #[error("version {} ({}) is not active on this node: {}", wanted.version, wanted.digest, describe(active.as_ref(), "active"))]
    NotActive {
        /// The version that the order is for.
        wanted: Version,
        /// The version that is active.
        active: Option<Version>,
    },
    /// The percentage is above 100.
    #[error("{0} is not a percentage: use 0 to 100")]
    Percent(u8),
}

fn describe(held: Option<&Version>, slot: &str) -> String {
    match held {
        Some(version) => format!("version {} ({}) is {slot}", version.version, version.digest),
        None => format!("no version is {slot}"),
    }
}

impl Slots {
    /// Returns the slots after an action. Idempotent: repeating an action changes nothing.
    ///
    /// # Errors
    /// If the action does not fit the slots. They then stay as they are.
    pub(crate) fn next(&self, action: &Action) -> Result<Self, Error> {
        let mut next = self.clone();
        match action {
            Action::Stage(Stage { version }) => {
                if self.active.as_ref() == Some(version) {
                    // Nothing to do, but what another deployment has left behind must not
                    // get requests beside it.
                    next.staged = None;
                    next.percent = 0;
                } else if self.staged.as_ref() != Some(version) {
                    next.staged = Some(version.clone());
                    next.percent = 0;
                }
            }
            Action::Shift(Shift { version, percent }) => {
                if *percent > 100 {
                    return Err(Error::Percent(*percent));
                }
                // The active version already serves all requests.
                if self.active.as_ref() != Some(version) {
                    self.require_staged(version)?;
                    next.percent = *percent;
                }
            }
            Action::Promote(Promote { version }) => {
                if self.active.as_ref() != Some(version) {
                    self.require_staged(version)?;
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
            Action::Restart(Restart { version }) => {
                if self.active.as_ref() != Some(version) {
                    return Err(Error::NotActive {
                        wanted: version.clone(),
                        active: self.active.clone(),
                    });
                }
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

    /// The versions in all slots.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &Version> {
        [&self.active, &self.staged, &self.previous]
            .into_iter()
            .flatten()
    }

    fn require_staged(&self, wanted: &Version) -> Result<(), Error> {
        if self.staged.as_ref() == Some(wanted) {
            return Ok(());
        }
        Err(Error::NotStaged {
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

    fn restart(number: u8) -> Action {
        Action::Restart(Restart {
            version: version(number),
        })
    }

    fn shift(number: u8, percent: u8) -> Action {
        Action::Shift(Shift {
            version: version(number),
            percent,
        })
    }

    fn apply_all(actions: &[Action]) -> Slots {
        actions.iter().fold(Slots::default(), |slots, action| {
            let next = slots.next(action).unwrap();
            assert_eq!(next.next(action).unwrap(), next, "{action:?} repeated");
            next
        })
    }

    #[test]
    fn a_rollout_moves_versions_through_the_slots() {
        let settle = Action::Settle(Settle {});
        let slots = apply_all(&[stage(1), promote(1), settle.clone(), stage(2), shift(2, 30)]);
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
    fn revert_keeps_only_the_target_version() {
        for to in [None, Some(1), Some(2), Some(3)] {
            let slots = apply_all(&[
                stage(1),
                promote(1),
                stage(2),
                promote(2),
                stage(3),
                revert(to),
            ]);
            let expected = Slots {
                active: to.map(version),
                ..Slots::default()
            };
            assert_eq!(slots, expected);
        }
    }

    #[test]
    fn shift_and_promote_require_a_staged_version() {
        let slots = apply_all(&[stage(1), promote(1), stage(2)]);
        for action in [promote(3), shift(3, 10)] {
            let error = slots.next(&action).unwrap_err().to_string();
            assert!(error.contains("version 3.0.0"), "{error}");
            assert!(error.contains("version 2.0.0"), "{error}");
        }
        assert_eq!(slots.next(&shift(2, 101)), Err(Error::Percent(101)));
    }

    #[test]
    fn orders_for_the_active_version_change_nothing() {
        let slots = apply_all(&[stage(1), promote(1)]);
        for action in [stage(1), shift(1, 30), promote(1), restart(1)] {
            assert_eq!(slots.next(&action).unwrap(), slots);
        }
    }

    #[test]
    fn only_the_active_version_can_be_restarted() {
        let slots = apply_all(&[stage(1), promote(1), stage(2)]);
        assert_eq!(slots.next(&restart(1)).unwrap(), slots, "the rest stays");
        let error = slots.next(&restart(2)).unwrap_err().to_string();
        assert!(error.contains("2.0.0 ("), "{error}");
        assert!(
            error.contains("is not active on this node: version 1.0.0"),
            "{error}"
        );
        let error = Slots::default().next(&restart(1)).unwrap_err().to_string();
        assert!(error.ends_with("no version is active"), "{error}");
    }

    #[test]
    fn staging_the_active_version_removes_what_was_staged_before() {
        let slots = apply_all(&[stage(1), promote(1), stage(2), shift(2, 30), stage(1)]);
        assert_eq!(slots.active, Some(version(1)));
        assert_eq!((slots.staged, slots.percent), (None, 0));
    }

    #[test]
    fn staging_another_version_resets_the_percentage() {
        let slots = apply_all(&[stage(1), promote(1), stage(2), shift(2, 50), stage(3)]);
        assert_eq!((slots.staged, slots.percent), (Some(version(3)), 0));
    }
}
