//! What versions, nodes and traffic are like.

use hotswap_core::Check;

use super::deployment::{self, READINGS};
use super::random::Random;

/// The readings of a day.
const DAY: u32 = 5760;

/// What a scenario is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The version is good: it must not be taken back.
    Good,
    /// The version is good, and a limit that the user sets takes it back all the same: outside of
    /// the promise.
    Outside,
    /// The version is bad: it should be taken back soon.
    Bad,
}

/// The distribution of latencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Log-normal with a standard deviation of 0.6.
    Usual,
    /// All within 1 %.
    Narrow,
    /// Log-normal with a standard deviation of 1.
    Wide,
    /// One request in ten takes ten times as long.
    Bimodal,
    /// A Pareto distribution with the index 1.2.
    Heavy,
}

#[derive(Debug, Clone)]
pub struct Scenario {
    pub name: String,
    pub kind: Kind,
    /// The share of requests that fail on the old version.
    pub errors: f64,
    /// How often they come together, on average.
    pub burst: f64,
    /// By how much the new version has more of each.
    pub error_factor: f64,
    pub latency_factor: f64,
    pub usage_factor: f64,
    /// The standard deviations by which nodes differ: errors, latency, CPU, memory.
    pub nodes: [f64; 4],
    /// The share of the variance of latencies that all requests of a node's reading have in common,
    /// and its correlation from reading to reading.
    pub common: f64,
    pub correlation: f64,
    pub shapes: [Shape; 2],
    /// Traffic, errors and latencies go up and down together for all nodes.
    pub varies: bool,
    /// By how much errors and latencies of all nodes have changed since what is recorded: in the
    /// whole deployment, and once more in its last step.
    pub since: [f64; 2],
    pub last: [f64; 2],
    /// The share of readings of a node of the new version in which its process ends.
    pub crashes: f64,
    /// The same of every node, whatever it runs.
    pub fleet_crashes: f64,
    /// The readings in which the old version has run on each node before the deployment.
    pub known: u32,
    /// The check of restarts, where it is not the default one: the most restarts and the increase.
    pub restarts: Option<[Option<f64>; 2]>,
    /// Requests of a node in a reading.
    pub requests: u64,
}

impl Scenario {
    /// The checks of the deployment.
    pub fn checks(&self) -> Vec<Check> {
        let mut checks = deployment::checks();
        for check in &mut checks {
            if check.metric == "restarts"
                && let Some(limits) = self.restarts
            {
                [check.max, check.max_increase] = limits;
            }
        }
        checks
    }

    /// By how much errors and latencies of all nodes differ from the recorded ones, at a reading.
    pub fn change(&self, at: u32) -> [f64; 2] {
        let is_last = at >= 3 * READINGS;
        let last = if is_last { self.last } else { [1.0; 2] };
        [self.since[0] * last[0], self.since[1] * last[1]]
    }
}

impl Shape {
    /// The 95th percentile before it is scaled.
    fn p95(self) -> f64 {
        match self {
            Self::Usual => (0.6 * 1.644_854_f64).exp(),
            Self::Narrow => 1.009,
            Self::Wide => 1.644_854_f64.exp(),
            Self::Bimodal => 10.0,
            Self::Heavy => 0.05_f64.powf(-1.0 / 1.2),
        }
    }

    /// A latency whose 95th percentile is 1. A share of its variance is `common`, a normal number.
    pub fn draw(self, random: &mut Random, share: f64, common: f64) -> f64 {
        let mut normal = || (1.0 - share).sqrt() * random.normal() + share.sqrt() * common;
        let value = match self {
            Self::Usual => (0.6 * normal()).exp(),
            Self::Wide => normal().exp(),
            Self::Narrow => 1.0 + 0.02 * (random.share() - 0.5),
            Self::Bimodal => match random.share() {
                at if at < 0.9 => 1.0 + 0.1 * (at / 0.9 - 0.5),
                at => 10.0 + 10.0 * (at - 0.95),
            },
            Self::Heavy => random.share().powf(-1.0 / 1.2),
        };
        value / self.p95()
    }
}

/// Errors are independent, nodes are equal.
fn independent(name: &str, kind: Kind) -> Scenario {
    Scenario {
        name: name.to_owned(),
        kind,
        errors: 0.005,
        burst: 1.0,
        error_factor: 1.0,
        latency_factor: 1.0,
        usage_factor: 1.0,
        nodes: [0.0; 4],
        common: 0.0,
        correlation: 0.0,
        shapes: [Shape::Usual; 2],
        varies: false,
        since: [1.0; 2],
        last: [1.0; 2],
        crashes: 0.0,
        fleet_crashes: 0.0,
        known: DAY,
        restarts: None,
        requests: 20,
    }
}

/// Errors in bursts of three, nodes that differ by 5 to 10 %.
fn usual(name: &str, kind: Kind) -> Scenario {
    Scenario {
        burst: 3.0,
        nodes: [0.1, 0.1, 0.1, 0.05],
        common: 0.1,
        ..independent(name, kind)
    }
}

/// Errors in bursts of five, nodes that differ by 15 to 30 %.
fn harsh(name: &str, kind: Kind) -> Scenario {
    Scenario {
        burst: 5.0,
        nodes: [0.3, 0.3, 0.3, 0.15],
        common: 0.3,
        ..independent(name, kind)
    }
}

type World = fn(&str, Kind) -> Scenario;

/// All of them.
pub fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    let worlds: [(&str, World); 3] = [
        ("independent", independent),
        ("usual", usual),
        ("harsh", harsh),
    ];
    for (name, world) in worlds {
        let version = |version: &str, kind, [errors, latency, usage]: [f64; 3]| Scenario {
            error_factor: errors,
            latency_factor: latency,
            usage_factor: usage,
            ..world(&format!("{name}: {version}"), kind)
        };
        all.extend([
            version("identical", Kind::Good, [1.0; 3]),
            version("80 % of each allowed rise", Kind::Good, [1.4, 1.8, 1.24]),
            version("exactly at each limit", Kind::Good, [1.5, 2.0, 1.3]),
            version("errors ×2", Kind::Bad, [2.0, 1.0, 1.0]),
            version("errors ×5", Kind::Bad, [5.0, 1.0, 1.0]),
            version("errors ×20", Kind::Bad, [20.0, 1.0, 1.0]),
            version("p95 ×3", Kind::Bad, [1.0, 3.0, 1.0]),
            version("p95 ×4", Kind::Bad, [1.0, 4.0, 1.0]),
            version("CPU and memory ×2", Kind::Bad, [1.0, 1.0, 2.0]),
        ]);
    }
    for (before, after, kind) in [
        (0.0, 0.0, Kind::Good),
        (0.0, 0.005, Kind::Bad),
        (0.0, 0.02, Kind::Bad),
        (0.001, 0.001, Kind::Good),
        (0.001, 0.0015, Kind::Good),
        (0.001, 0.002, Kind::Bad),
        (0.001, 0.005, Kind::Bad),
        (0.001, 0.02, Kind::Bad),
        (0.01, 0.01, Kind::Good),
        (0.01, 0.015, Kind::Good),
        (0.01, 0.02, Kind::Bad),
        (0.01, 0.05, Kind::Bad),
        (0.01, 0.2, Kind::Bad),
    ] {
        let percent = |share: f64| 100.0 * share;
        let name = format!("usual: errors {} → {} %", percent(before), percent(after));
        all.push(Scenario {
            // Of 0 errors any factor is 0; the new version's own rate is then this.
            errors: if before > 0.0 { before } else { -after },
            error_factor: if before > 0.0 { after / before } else { 1.0 },
            ..usual(&name, kind)
        });
    }
    for (name, old, new) in [
        ("wide → narrow", Shape::Wide, Shape::Narrow),
        ("heavy → narrow", Shape::Heavy, Shape::Narrow),
        ("narrow → heavy", Shape::Narrow, Shape::Heavy),
        ("bimodal → usual", Shape::Bimodal, Shape::Usual),
        ("usual → bimodal", Shape::Usual, Shape::Bimodal),
    ] {
        for (world, of_world) in worlds {
            let name = format!("shapes, {world}: {name}, p95 at the limit");
            all.push(Scenario {
                latency_factor: 2.0,
                shapes: [old, new],
                ..of_world(&name, Kind::Good)
            });
        }
    }
    for shape in [Shape::Narrow, Shape::Wide, Shape::Bimodal, Shape::Heavy] {
        all.push(Scenario {
            latency_factor: 4.0,
            shapes: [shape; 2],
            ..independent(&format!("shapes: {shape:?}, p95 ×4"), Kind::Bad)
        });
    }
    let correlated = |name: &str, kind, latency_factor| Scenario {
        common: 0.3,
        correlation: 0.8,
        latency_factor,
        ..usual(name, kind)
    };
    let varies = |name: &str, kind, error_factor| Scenario {
        varies: true,
        error_factor,
        ..usual(name, kind)
    };
    let crashes = |name: &str, crashes| Scenario {
        crashes,
        ..usual(name, Kind::Bad)
    };
    // Where all nodes crash, whatever they run.
    let all_crash = |name: &str, kind, share, crashes| Scenario {
        fleet_crashes: share,
        crashes,
        ..usual(&format!("all nodes crash, {name}"), kind)
    };
    all.extend([
        correlated("autocorrelated: identical", Kind::Good, 1.0),
        correlated("autocorrelated: p95 ×1.8", Kind::Good, 1.8),
        correlated("autocorrelated: p95 ×2, at the limit", Kind::Good, 2.0),
        correlated("autocorrelated: p95 ×4", Kind::Bad, 4.0),
        varies("varying: identical", Kind::Good, 1.0),
        varies("varying: errors at the limit", Kind::Good, 1.5),
        varies("varying: errors ×20", Kind::Bad, 20.0),
        crashes("crashes: one reading in 40", 0.025),
        crashes("crashes: one reading in 8", 0.125),
        Scenario {
            known: 0,
            ..crashes("crashes: one reading in 40, new nodes", 0.025)
        },
        Scenario {
            known: 0,
            ..crashes("crashes: one reading in 8, new nodes", 0.125)
        },
        all_crash("one reading in 400: identical", Kind::Good, 0.0025, 0.0),
        all_crash(
            "one reading in 400: at the limit",
            Kind::Good,
            0.0025,
            0.0025,
        ),
        all_crash(
            "one reading in 5,760: identical",
            Kind::Good,
            1.0 / 5760.0,
            0.0,
        ),
        all_crash(
            "one reading in 5,760: at the limit",
            Kind::Good,
            1.0 / 5760.0,
            1.0 / 5760.0,
        ),
        all_crash("one reading in 40: identical", Kind::Good, 0.025, 0.0),
        Scenario {
            known: 240,
            ..all_crash(
                "one reading in 400, known for an hour: identical",
                Kind::Good,
                0.0025,
                0.0,
            )
        },
        Scenario {
            known: 0,
            ..all_crash(
                "one reading in 400, new nodes: identical",
                Kind::Outside,
                0.0025,
                0.0,
            )
        },
        Scenario {
            known: 0,
            ..all_crash(
                "one reading in 5,760, new nodes: identical",
                Kind::Outside,
                1.0 / 5760.0,
                0.0,
            )
        },
        Scenario {
            restarts: Some([Some(0.0), None]),
            ..all_crash(
                "one reading in 400: none allowed",
                Kind::Outside,
                0.0025,
                0.0,
            )
        },
        Scenario {
            restarts: Some([None, Some(0.5)]),
            ..all_crash("one reading in 400: only compared", Kind::Good, 0.0025, 0.0)
        },
        all_crash(
            "one reading in 400, the new one in 8",
            Kind::Bad,
            0.0025,
            0.125,
        ),
        all_crash(
            "one reading in 400, the new one in 40",
            Kind::Bad,
            0.0025,
            0.025,
        ),
    ]);
    all.extend(changes());
    all
}

/// What was recorded before is not what the nodes do now.
fn changes() -> Vec<Scenario> {
    let worlds: [(&str, World); 2] = [("usual", usual), ("harsh", harsh)];
    let of_world = |(name, world): (&str, World)| {
        let change = |change: &str, kind, since, last, factor: f64| Scenario {
            since,
            last,
            error_factor: 1.0 + 0.5 * factor,
            latency_factor: 1.0 + factor,
            usage_factor: 1.0 + 0.3 * factor,
            ..world(&format!("changes, {name}: {change}"), kind)
        };
        let (same, drift) = ([1.0; 2], [3.0, 2.0]);
        vec![
            change(
                "errors ×5 and latencies ×3 since the recording",
                Kind::Good,
                [5.0, 3.0],
                same,
                0.0,
            ),
            change(
                "errors ×3 and latencies ×2 in the last step",
                Kind::Good,
                same,
                drift,
                0.0,
            ),
            change(
                "the same, exactly at each limit",
                Kind::Good,
                same,
                drift,
                1.0,
            ),
            change(
                "errors ×20 in the last step",
                Kind::Bad,
                same,
                [20.0, 1.0],
                0.0,
            ),
            change(
                "latencies ×8 in the last step",
                Kind::Bad,
                same,
                [1.0, 8.0],
                0.0,
            ),
        ]
    };
    worlds.into_iter().flat_map(of_world).collect()
}
