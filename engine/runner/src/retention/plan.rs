//! Chooses what is outdated, by the limits alone.

use std::time::Duration;

use hotswap_core::{DeploymentSummary, ModuleVersion, Timestamp};
use hotswap_store::ModuleRecord;

use crate::limits::RetentionLimits;

/// Whether a deployment that has ended is beyond the limits, if `newer` others are kept.
pub(super) fn is_outdated(
    deployment: &DeploymentSummary,
    newer: usize,
    now: Timestamp,
    limits: &RetentionLimits,
) -> bool {
    let ended_at = deployment.ended_at.unwrap_or(deployment.updated_at);
    newer >= limits.deployments || is_older(ended_at, limits.deployment_age, now)
}

/// The versions of one module that are beyond the limits. Never the one that was uploaded last,
/// nor the newest: it is what a deployment gets that names no version.
pub(super) fn outdated_versions(
    mut records: Vec<ModuleRecord>,
    now: Timestamp,
    limits: &RetentionLimits,
) -> Vec<ModuleVersion> {
    records.sort_by_key(|record| std::cmp::Reverse(record.uploaded_at));
    let releases = records.iter().map(|record| &record.module.version);
    let newest = releases.filter(|version| version.pre.is_empty()).max();
    let newest = newest.cloned();
    let outdated = records.into_iter().enumerate().filter(|(newer, record)| {
        let is_beyond =
            *newer >= limits.versions || is_older(record.uploaded_at, limits.version_age, now);
        is_beyond && *newer > 0 && newest.as_ref() != Some(&record.module.version)
    });
    outdated.map(|(_, record)| record.module).collect()
}

fn is_older(at: Timestamp, age: Duration, now: Timestamp) -> bool {
    now.since(at) > age
}

#[cfg(test)]
mod tests {
    use hotswap_core::{Digest, Event, EventBody};

    use super::*;

    const SECOND: u64 = 1000;

    fn limits(number: usize, seconds: u64) -> RetentionLimits {
        let age = Duration::from_secs(seconds);
        RetentionLimits {
            deployments: number,
            deployment_age: age,
            versions: number,
            version_age: age,
            unused_age: age,
        }
    }

    fn at(second: u64) -> Timestamp {
        Timestamp::from_millis(second * SECOND)
    }

    #[test]
    fn a_deployment_is_outdated_by_its_age_or_by_the_number_of_newer_ones() {
        let requested = Event {
            seq: 0,
            position: 1,
            at: at(100),
            body: EventBody::Requested(Box::new(crate::projections::tests::header())),
        };
        let deployment = hotswap_core::Deployment::begin(&requested)
            .unwrap()
            .summary();
        for (newer, now, expected) in [
            (0, 100, false),
            (0, 150, false),
            (0, 151, true),
            (2, 150, false),
            (3, 150, true),
            // A clock that was set back makes nothing older.
            (0, 1, false),
        ] {
            let outdated = is_outdated(&deployment, newer, at(now), &limits(3, 50));
            assert_eq!(outdated, expected, "{newer} newer ones at {now}");
        }
    }

    /// Versions, each with the second of its upload.
    fn outdated(uploads: &[(&str, u64)], now: u64, limits: RetentionLimits) -> Vec<String> {
        let record = |(version, second): &(&str, u64)| ModuleRecord {
            module: ModuleVersion {
                name: "hello".parse().unwrap(),
                version: version.parse().unwrap(),
                digest: Digest::of(version.as_bytes()),
            },
            size: 1,
            uploaded_at: at(*second),
            uploaded_by: "ada".to_owned(),
        };
        let records = uploads.iter().map(record).collect();
        let outdated = outdated_versions(records, at(now), &limits);
        let mut versions: Vec<_> = outdated.iter().map(|one| one.version.to_string()).collect();
        versions.sort();
        versions
    }

    #[test]
    fn versions_are_counted_from_the_last_upload() {
        let uploads = [("3.0.0", 10), ("1.0.0", 40), ("2.0.0", 20), ("2.0.1", 30)];
        let found = outdated(&uploads, 50, limits(2, 1000));
        // 3.0.0 is the newest: a deployment that names no version gets it.
        assert_eq!(found, ["2.0.0"]);
        assert_eq!(outdated(&uploads, 50, limits(4, 1000)), [""; 0]);
    }

    #[test]
    fn old_versions_are_outdated_but_for_the_last_and_the_newest() {
        let uploads = [("1.0.0", 1), ("2.0.0", 2), ("3.0.0-rc.1", 3), ("0.9.9", 4)];
        let found = outdated(&uploads, 5000, limits(100, 50));
        assert_eq!(found, ["1.0.0", "3.0.0-rc.1"]);
    }

    #[test]
    fn a_limit_of_none_keeps_what_is_needed_to_deploy() {
        let uploads = [("1.0.0", 1), ("2.0.0", 2)];
        assert_eq!(outdated(&uploads, 5, limits(0, 0)), ["1.0.0"]);
        assert_eq!(outdated(&[("1.0.0-rc.1", 1)], 5, limits(0, 0)), [""; 0]);
    }
}
