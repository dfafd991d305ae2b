//! What happens to an engine, and when.

use std::fmt;
use std::time::Duration;

use hotswap_tests::{CrashPoint, CrashTiming};

/// What happens to the engine that drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Its process ends without a word.
    Killed,
    /// It does nothing until another one has taken over, or has ended the rollout, and then goes
    /// on where it was.
    StoodStill,
    /// Redis does not hear it, until another one has taken over, or has ended the
    /// rollout.
    CutOffFromRedis,
    /// The nodes do not hear it for a while. It goes on driving.
    CutOffFromNodes,
    /// Neither hears it, until another one has taken over, or has ended the
    /// rollout.
    CutOffFromBoth,
}

pub const FAULTS: [Fault; 5] = [
    Fault::Killed,
    Fault::StoodStill,
    Fault::CutOffFromRedis,
    Fault::CutOffFromNodes,
    Fault::CutOffFromBoth,
];

/// A fault at an append of a rollout.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub fault: Fault,
    pub point: CrashPoint,
}

impl Case {
    /// The cases of a fault in a rollout of so many appends.
    pub fn all(fault: Fault, append_count: u64) -> impl Iterator<Item = Self> {
        let timings = [CrashTiming::BeforeAppend, CrashTiming::AfterAppend];
        let points = (0..append_count)
            .flat_map(move |append| timings.map(|timing| CrashPoint { append, timing }));
        points.map(move |point| Self { fault, point })
    }

    /// Such as `canary, append 5, after, killed`.
    pub fn name(&self, rollout: &str) -> String {
        let CrashPoint { append, timing } = self.point;
        let timing = match timing {
            CrashTiming::BeforeAppend => "before",
            CrashTiming::AfterAppend => "after",
        };
        format!("{rollout}, append {append}, {timing}, {}", self.fault)
    }

    /// Whether the fault lasts until the rollout has ended, and not only until another engine has
    /// taken over. What the engine had begun then comes very late.
    pub fn lasts(&self) -> bool {
        self.point.append % 2 == 1
    }

    /// How long the nodes do not hear an engine that goes on driving: shorter than it is patient
    /// with them, or longer.
    pub fn cut(&self) -> Duration {
        match self.point.append % 2 {
            0 => Duration::from_millis(300),
            _ => Duration::from_millis(1500),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "killed",
            Self::StoodStill => "stood still",
            Self::CutOffFromRedis => "cut off from Redis",
            Self::CutOffFromNodes => "cut off from the nodes",
            Self::CutOffFromBoth => "cut off from both",
        })
    }
}
