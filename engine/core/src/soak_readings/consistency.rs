//! The invariants of every reading.

use crate::{NodeReading, VersionReading};

/// Checks that a reading counts no request twice: what its versions count more than in the `last`
/// reading, the node has received since. A counter of the same start of the node never falls.
///
/// # Errors
/// What does not fit, in one sentence.
pub(super) fn check(now: &NodeReading, last: Option<&NodeReading>) -> Result<(), String> {
    for (index, held) in now.versions.iter().enumerate() {
        if held.errors > held.counted() {
            return Err(format!(
                "it counts {} errors of {} requests to {}",
                held.errors,
                held.counted(),
                name(held)
            ));
        }
        let others = &now.versions[index + 1..];
        let is_same = |other: &&VersionReading| {
            other.version == held.version
                && other.digest == held.digest
                && other.generation == held.generation
        };
        if others.iter().any(|other| is_same(&other)) {
            return Err(format!("it counts {} twice", name(held)));
        }
    }
    let last = last.filter(|last| last.boot == now.boot);
    let mut more = 0_u64;
    for held in &now.versions {
        let earlier = last.and_then(|last| {
            let mut versions = last.versions.iter();
            versions.find(|earlier| held.continues(earlier))
        });
        let before = earlier.map_or(0, VersionReading::counted);
        if held.counted() < before {
            return Err(format!(
                "its counter of requests to {} fell from {before} to {}",
                name(held),
                held.counted()
            ));
        }
        more = more.saturating_add(held.counted() - before);
    }
    let Some(now) = now.traffic else {
        return Ok(());
    };
    let finished = match last.map(|last| last.traffic) {
        // Everything that it counts.
        None => 0,
        Some(Some(last)) => last.finished,
        Some(None) => return Ok(()),
    };
    let received = now.received.saturating_sub(finished);
    if more > received {
        return Err(format!(
            "its versions count {more} requests since the last reading, and it received at most \
             {received}"
        ));
    }
    Ok(())
}

fn name(held: &VersionReading) -> String {
    let digest = held.digest.to_string();
    held.version.clone().unwrap_or(digest)
}
