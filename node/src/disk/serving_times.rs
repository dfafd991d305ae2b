use std::time::Duration;

use hotswap_core::Timestamp;
use hotswap_protocol::Lifetime;
use serde::{Deserialize, Serialize};

use crate::slots::Slots;

/// The longest time that counts. A longer one means that the clock was wrong, or is too old to say
/// anything about the node today.
const LONGEST: Duration = Duration::from_hours(24 * 90);

/// How long the versions of a module have been active, over all starts of the node. The engine
/// learns from it how often a version crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ServingTimes {
    /// When the active version became active. `None` in records of older nodes.
    active_since: Option<Moment>,
    /// Since when the staged version has taken a share of the requests. Until then the time of the
    /// active version counts: a crash after it may be the other version's.
    #[serde(skip_serializing_if = "Option::is_none")]
    shared_since: Option<Moment>,
    /// How long the version in the slot `previous` was active.
    previous: Option<Lifetime>,
}

/// A moment, and how often the node had crashed by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Moment {
    /// By the wall-clock, which also counts the time in which the node was down.
    pub(crate) at: Timestamp,
    /// How often the node had crashed, since its data folder was created.
    pub(crate) crashes: u64,
}

impl Moment {
    fn since(self, earlier: Self) -> Lifetime {
        let lasted = self.at.since(earlier.at).min(LONGEST);
        Lifetime {
            // A cast of at most ninety days.
            millis: lasted.as_millis() as u64,
            crashes: self.crashes.saturating_sub(earlier.crashes),
        }
    }

    /// The moment at which a lifetime that ends now would have begun.
    fn before(self, lifetime: Lifetime) -> Self {
        Self {
            at: Timestamp::from_millis(self.at.millis().saturating_sub(lifetime.millis)),
            crashes: self.crashes.saturating_sub(lifetime.crashes),
        }
    }
}

impl ServingTimes {
    /// The times after an order changed the slots `old` to `new`.
    pub(super) fn after(self, old: &Slots, new: &Slots, now: Moment) -> Self {
        let is_same = new.active == old.active;
        let is_taken_back = new.active == old.previous;
        let active_since = match (&new.active, self.previous) {
            (None, _) => None,
            (Some(_), _) if is_same && self.shared_since.is_some() && !is_shared(new) => {
                let lifetime = self.of_active(now).unwrap_or_default();
                Some(now.before(lifetime))
            }
            (Some(_), _) if is_same => self.active_since.or(Some(now)),
            // The time of a version that comes back goes on where it ended.
            (Some(_), Some(lifetime)) if is_taken_back => Some(now.before(lifetime)),
            (Some(_), _) => Some(now),
        };
        let previous = match &new.previous {
            None => None,
            Some(_) if new.previous == old.previous => self.previous,
            Some(_) if new.previous == old.active => self.of_active(now),
            Some(_) => None,
        };
        let shared_since = is_shared(new).then_some(match self.shared_since {
            Some(since) if is_same => since,
            _ => now,
        });
        Self {
            active_since,
            shared_since,
            previous,
        }
    }

    /// The lifetime of the active version until now, or until another one took a share of its
    /// requests.
    pub(crate) fn of_active(self, now: Moment) -> Option<Lifetime> {
        let until = self.shared_since.unwrap_or(now);
        self.active_since.map(|since| until.since(since))
    }

    /// The lifetime of the version in the slot `previous`.
    pub(crate) fn of_previous(self) -> Option<Lifetime> {
        self.previous
    }
}

/// Whether the staged version takes a share of the requests.
fn is_shared(slots: &Slots) -> bool {
    slots.staged.is_some() && slots.percent > 0
}

#[cfg(test)]
mod tests {
    use hotswap_protocol::Version;

    use super::*;

    fn slots(active: Option<&str>, previous: Option<&str>) -> Slots {
        let version = |number: &str| Version {
            version: number.to_owned(),
            digest: String::new(),
        };
        Slots {
            active: active.map(version),
            previous: previous.map(version),
            ..Slots::default()
        }
    }

    fn at(millis: u64, crashes: u64) -> Moment {
        Moment {
            at: Timestamp::from_millis(millis),
            crashes,
        }
    }

    fn lifetime(millis: u64, crashes: u64) -> Option<Lifetime> {
        Some(Lifetime { millis, crashes })
    }

    #[test]
    fn a_version_that_comes_back_goes_on_where_it_ended() {
        let (none, one) = (slots(None, None), slots(Some("1"), None));
        let two = slots(Some("2"), Some("1"));
        let times = ServingTimes::default().after(&none, &one, at(1000, 3));
        assert_eq!(times.of_active(at(1500, 5)), lifetime(500, 2));
        let times = times.after(&one, &one, at(2000, 5));
        let times = times.after(&one, &two, at(3000, 5));
        assert_eq!(times.of_active(at(3100, 5)), lifetime(100, 0));
        assert_eq!(times.of_previous(), lifetime(2000, 2));
        let reverted = times.after(&two, &one, at(4000, 9));
        assert_eq!(reverted.of_active(at(4001, 9)), lifetime(2001, 2));
        assert_eq!(reverted.of_previous(), None);
        let settled = times.after(&two, &slots(Some("2"), None), at(4000, 9));
        assert_eq!(settled.of_active(at(4000, 9)), lifetime(1000, 4));
        let emptied = settled.after(&slots(Some("2"), None), &none, at(5000, 9));
        assert_eq!(emptied, ServingTimes::default());
    }

    #[test]
    fn crashes_while_another_version_takes_a_share_are_not_those_of_the_active_one() {
        let one = slots(Some("1"), None);
        let shared = Slots {
            staged: slots(Some("2"), None).active,
            percent: 5,
            ..slots(Some("1"), None)
        };
        let times = ServingTimes::default().after(&slots(None, None), &one, at(0, 0));
        let times = times.after(&one, &shared, at(1000, 1));
        assert_eq!(times.of_active(at(3000, 5)), lifetime(1000, 1));
        let more = times.after(&shared, &shared, at(3000, 5));
        assert_eq!(more.of_active(at(3000, 5)), lifetime(1000, 1));
        let reverted = more.after(&shared, &one, at(4000, 5));
        assert_eq!(reverted.of_active(at(4500, 5)), lifetime(1500, 1));
        let promoted = more.after(&shared, &slots(Some("2"), Some("1")), at(4000, 5));
        assert_eq!(promoted.of_previous(), lifetime(1000, 1));
        assert_eq!(promoted.of_active(at(4500, 6)), lifetime(500, 1));
    }

    /// A record of an older node tells nothing; from the next order on, it does.
    #[test]
    fn what_is_not_recorded_is_not_known() {
        let one = slots(Some("1"), None);
        let unknown = ServingTimes::default();
        assert_eq!(unknown.of_active(at(1000, 0)), None);
        let two = unknown.after(&one, &slots(Some("2"), Some("1")), at(1000, 1));
        assert_eq!(two.of_previous(), None);
        let same = unknown.after(&one, &one, at(1000, 1));
        assert_eq!(same.of_active(at(1500, 1)), lifetime(500, 0));
    }

    #[test]
    fn a_clock_that_was_wrong_makes_no_node_old() {
        let one = slots(Some("1"), None);
        let times = ServingTimes::default().after(&slots(None, None), &one, at(0, 0));
        let long = LONGEST.as_millis() as u64;
        assert_eq!(times.of_active(at(u64::MAX, 1)), lifetime(long, 1));
        let times = ServingTimes::default().after(&slots(None, None), &one, at(5000, 0));
        assert_eq!(times.of_active(at(4000, 0)), lifetime(0, 0), "set back");
    }
}
