use std::ops::RangeInclusive;
use std::time::Duration;

use hotswap_core::{OutOfRange, StrategyLimits};

/// Limits of the engine and of each deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls of the strategy in one deployment. A deployment pins this limit and the next three
    /// when it is created.
    pub calls: u32,
    /// Bytes that the journal of one deployment keeps because of its strategy: its calls, their
    /// answers, and the counters with which soaks start.
    pub bytes: usize,
    /// Bytes on top of [`bytes`](Self::bytes) for each node of the plan.
    pub bytes_per_node: usize,
    /// Fuel of one run of a strategy, from its start to its end.
    pub total_fuel: u64,
    /// A longer wait suspends the deployment: its strategy gives the instance back, and is
    /// replayed afterwards.
    pub suspend_after: Duration,
    /// Nodes that one deployment orders at the same time, even where its policy allows more:
    /// each is a connection.
    pub fan_out: usize,
    /// Strategies that run at the same time. The others wait for their turn.
    pub instances: usize,
    /// How long and how much is kept of what has ended.
    pub retention: RetentionLimits,
    /// When nodes that are gone are removed.
    pub expiry: ExpiryLimits,
}

/// When nodes that are gone are removed, in time that this engine has listened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiryLimits {
    /// After this silence of a node that has not said that it stops.
    pub silent: Duration,
    /// After this time since a node said that it stops.
    pub stopped: Duration,
}

impl ExpiryLimits {
    /// Up to ten years of 365.25 days.
    pub const SPANS: RangeInclusive<Duration> =
        Duration::from_secs(1)..=Duration::from_secs(10 * 31_557_600);
}

impl ExpiryLimits {
    /// Checks that the spans are in their range.
    ///
    /// # Errors
    /// [`OutOfRange`] names the first one that is not, by its key in the configuration.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let show = |span: &Duration| humantime::format_duration(*span).to_string();
        OutOfRange::check("expireAfter", self.silent, &Self::SPANS, show)?;
        OutOfRange::check("expireStoppedAfter", self.stopped, &Self::SPANS, show)
    }
}

impl Default for ExpiryLimits {
    /// A day for a machine that failed and is repaired; a quarter of an hour for a restart.
    fn default() -> Self {
        Self {
            silent: Duration::from_secs(24 * 60 * 60),
            stopped: Duration::from_secs(15 * 60),
        }
    }
}

/// How long ended deployments and unused versions are kept, and how many. Versions that run, that
/// should run or that a rollback needs are kept in any case.
///
/// Ages do not count in the engine's first hour, nor in the hour after the wall-clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionLimits {
    /// Deployments that have ended.
    pub deployments: usize,
    /// How long a deployment is kept after its end.
    pub deployment_age: Duration,
    /// Versions of each module, counted from the one that was uploaded last.
    pub versions: usize,
    /// How long a version is kept after its upload.
    pub version_age: Duration,
    /// How long a file is kept that no record names: its upload may be under way.
    pub unused_age: Duration,
}

impl RetentionLimits {
    /// Only the limits by number, for a time in which the date is in doubt. An age of zero stays:
    /// what is kept for no time is outdated at any date.
    pub(crate) fn without_ages(self) -> Self {
        let without = |age: Duration| match age {
            Duration::ZERO => age,
            _ => Duration::MAX,
        };
        Self {
            deployment_age: without(self.deployment_age),
            version_age: without(self.version_age),
            unused_age: without(self.unused_age),
            ..self
        }
    }
}

impl Default for RetentionLimits {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            deployments: 1000,
            deployment_age: 30 * DAY,
            versions: 10,
            // A year of 365.25 days.
            version_age: 365 * DAY + DAY / 4,
            unused_age: Duration::from_secs(60 * 60),
        }
    }
}

impl Limits {
    /// Without a call, no strategy could do anything.
    pub const CALLS: RangeInclusive<u32> = 1..=1_000_000;
    /// Up to 1 GiB, which each replay reads.
    pub const BYTES: RangeInclusive<usize> = 1..=1 << 30;
    /// Up to 1 MiB. With 0, a deployment to many nodes has no more room than one to few.
    pub const BYTES_PER_NODE: RangeInclusive<usize> = 0..=1 << 20;
    /// From the slice in which fuel is counted up to some days of compute.
    pub const TOTAL_FUEL: RangeInclusive<u64> = 10_000_000..=1_000_000_000_000_000;
    /// Up to a day. With 0, every wait suspends the deployment.
    pub const SUSPEND_AFTER: RangeInclusive<Duration> =
        Duration::ZERO..=Duration::from_secs(24 * 3600);
    /// Up to the connections that a machine has room for.
    pub const FAN_OUT: RangeInclusive<usize> = 1..=4096;
    /// Up to the runs for which the WebAssembly host has memory mappings.
    pub const INSTANCES: RangeInclusive<usize> = 1..=4000;

    /// Checks that every limit is in its range, except for [`ExpiryLimits::check`].
    ///
    /// # Errors
    /// [`OutOfRange`] names the first one that is not, by its key in the configuration.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let duration = |duration: &Duration| humantime::format_duration(*duration).to_string();
        OutOfRange::check("calls", self.calls, &Self::CALLS, u32::clone)?;
        OutOfRange::check("bytes", self.bytes, &Self::BYTES, usize::clone)?;
        let per_node = self.bytes_per_node;
        OutOfRange::check(
            "bytesPerNode",
            per_node,
            &Self::BYTES_PER_NODE,
            usize::clone,
        )?;
        OutOfRange::check("totalFuel", self.total_fuel, &Self::TOTAL_FUEL, u64::clone)?;
        OutOfRange::check(
            "parkAfter",
            self.suspend_after,
            &Self::SUSPEND_AFTER,
            duration,
        )?;
        OutOfRange::check("fanOut", self.fan_out, &Self::FAN_OUT, usize::clone)?;
        OutOfRange::check("instances", self.instances, &Self::INSTANCES, usize::clone)
    }
}

impl Default for Limits {
    /// Those of [`StrategyLimits`] for each deployment; 1024 strategies at the same time.
    fn default() -> Self {
        let strategy = StrategyLimits::default();
        Self {
            calls: strategy.calls,
            bytes: usize::try_from(strategy.bytes).unwrap_or(usize::MAX),
            bytes_per_node: usize::try_from(strategy.bytes_per_node).unwrap_or(usize::MAX),
            total_fuel: strategy.total_fuel,
            suspend_after: Duration::from_secs(2),
            fan_out: 128,
            instances: 1024,
            retention: RetentionLimits::default(),
            expiry: ExpiryLimits::default(),
        }
    }
}
