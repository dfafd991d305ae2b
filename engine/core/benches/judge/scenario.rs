//! What versions, nodes and traffic are like.

use hotswap_core::Check;

use super::deployment::{self, READINGS};
use super::random::Random;

/// The requests of a canary of one node, then of three more, until the end of the soak: the first
/// step, the second.
const FIRST_STEP: u64 = 800;
const SECOND_STEP: u64 = 3200;

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
    /// The version is bad: it should be taken back soon. At least this share of deployments in
    /// percent, after so many requests of the canary at most (the median).
    Bad { found: u8, within: u64 },
}

impl Kind {
    /// A bad version that nobody promises to find.
    const UNBOUNDED: Self = Self::Bad {
        found: 0,
        within: u64::MAX,
    };

    pub fn is_bad(self) -> bool {
        matches!(self, Self::Bad { .. })
    }
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
    /// The 95th percentiles of the shapes, with what is common.
    pub p95: [f64; 2],
    /// The share of readings in which a node begins to have ten times as many errors, whatever it
    /// runs, for five readings on average.
    pub error_spells: f64,
    /// The number of nodes.
    pub fleet: usize,
    /// Each node runs both versions, and the new one gets a share of its requests.
    pub shared: bool,
    /// The first reading in which the version is not like the previous one.
    pub breaks_at: u32,
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
    /// The 95th percentile before it is scaled, where a share of the variance is common.
    fn p95(self, share: f64) -> f64 {
        match self {
            Self::Usual => (0.6 * 1.644_854_f64).exp(),
            Self::Wide => 1.644_854_f64.exp(),
            Self::Narrow | Self::Bimodal | Self::Heavy if share > 0.0 => {
                const DRAWN: usize = 400_000;
                let mut random = Random::new(1);
                let mut drawn: Vec<_> = (0..DRAWN)
                    .map(|_| {
                        let common = random.normal();
                        self.value(&mut random, share, common)
                    })
                    .collect();
                let (_, p95, _) = drawn.select_nth_unstable_by(DRAWN * 95 / 100, f64::total_cmp);
                *p95
            }
            Self::Narrow => 1.009,
            Self::Bimodal => 10.0,
            Self::Heavy => 0.05_f64.powf(-1.0 / 1.2),
        }
    }

    /// The variance of the logarithm.
    fn log_variance(self) -> f64 {
        match self {
            Self::Usual => 0.36,
            Self::Wide => 1.0,
            Self::Narrow => 0.02 * 0.02 / 12.0,
            Self::Bimodal => 0.1 * 0.9 * std::f64::consts::LN_10.powi(2),
            Self::Heavy => 1.0 / (1.2 * 1.2),
        }
    }

    /// A latency. As much as a share of the variance of its logarithm follows `common`, a normal
    /// number: within the variance of the shapes that are log-normal, beside that of the others.
    pub fn value(self, random: &mut Random, share: f64, common: f64) -> f64 {
        let mut normal = || (1.0 - share).sqrt() * random.normal() + share.sqrt() * common;
        let value = match self {
            Self::Usual => return (0.6 * normal()).exp(),
            Self::Wide => return normal().exp(),
            Self::Narrow => 1.0 + 0.02 * (random.share() - 0.5),
            Self::Bimodal => match random.share() {
                at if at < 0.9 => 1.0 + 0.1 * (at / 0.9 - 0.5),
                at => 10.0 + 10.0 * (at - 0.95),
            },
            Self::Heavy => random.share().powf(-1.0 / 1.2),
        };
        value * ((share * self.log_variance()).sqrt() * common).exp()
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
        p95: [1.0; 2],
        error_spells: 0.0,
        fleet: 10,
        shared: false,
        breaks_at: 0,
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
        // What the facts simulated is found as often in `usual` at ×20, and wherever CPU and memory
        // are twice as much. They found ×5 in 66 and 38 %, and in `harsh` p95 ×4 in 99 %: that is
        // not reached. Of the others they have no whole deployments.
        let bad = |found, within| Kind::Bad { found, within };
        let [five, twenty, three_times, four_times] = match name {
            "independent" => [bad(99, 1000), bad(99, 200), bad(99, 800), bad(99, 300)],
            "usual" => [
                bad(52, SECOND_STEP),
                bad(99, FIRST_STEP),
                bad(97, 2000),
                bad(99, FIRST_STEP),
            ],
            _ => [
                bad(24, 5000),
                bad(98, FIRST_STEP),
                bad(30, SECOND_STEP),
                bad(96, FIRST_STEP),
            ],
        };
        all.extend([
            version("identical", Kind::Good, [1.0; 3]),
            version("80 % of each allowed rise", Kind::Good, [1.4, 1.8, 1.24]),
            version("exactly at each limit", Kind::Good, [1.5, 2.0, 1.3]),
            version("errors ×2", Kind::UNBOUNDED, [2.0, 1.0, 1.0]),
            version("errors ×5", five, [5.0, 1.0, 1.0]),
            version("errors ×20", twenty, [20.0, 1.0, 1.0]),
            version("p95 ×3", three_times, [1.0, 3.0, 1.0]),
            version("p95 ×4", four_times, [1.0, 4.0, 1.0]),
            version("CPU and memory ×2", bad(99, FIRST_STEP), [1.0, 1.0, 2.0]),
        ]);
    }
    let bad = |found, within| Kind::Bad { found, within };
    for (before, after, kind) in [
        (0.0, 0.0, Kind::Good),
        (0.0, 0.005, bad(55, 8000)),
        (0.0, 0.02, bad(99, 1000)),
        (0.001, 0.001, Kind::Good),
        (0.001, 0.0015, Kind::Good),
        (0.001, 0.002, Kind::UNBOUNDED),
        (0.001, 0.005, Kind::UNBOUNDED),
        (0.001, 0.02, bad(95, 2200)),
        (0.01, 0.01, Kind::Good),
        (0.01, 0.015, Kind::Good),
        (0.01, 0.02, Kind::UNBOUNDED),
        (0.01, 0.05, bad(89, 2600)),
        (0.01, 0.2, bad(99, 250)),
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
    for (shape, kind) in [
        (Shape::Narrow, bad(99, 100)),
        (Shape::Wide, bad(99, 800)),
        (Shape::Bimodal, bad(99, 1600)),
        (Shape::Heavy, bad(62, 4000)),
    ] {
        all.push(Scenario {
            latency_factor: 4.0,
            shapes: [shape; 2],
            ..independent(&format!("shapes: {shape:?}, p95 ×4"), kind)
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
    let crashes = |name: &str, kind, crashes| Scenario {
        crashes,
        ..usual(name, kind)
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
        correlated("autocorrelated: p95 ×4", bad(97, 800), 4.0),
        varies("varying: identical", Kind::Good, 1.0),
        varies("varying: errors at the limit", Kind::Good, 1.5),
        varies("varying: errors ×20", bad(99, 300), 20.0),
        crashes("crashes: one reading in 40", bad(99, 1600), 0.025),
        crashes("crashes: one reading in 8", bad(99, 250), 0.125),
        Scenario {
            known: 0,
            ..crashes(
                "crashes: one reading in 40, new nodes",
                bad(99, SECOND_STEP),
                0.025,
            )
        },
        Scenario {
            known: 0,
            ..crashes(
                "crashes: one reading in 8, new nodes",
                bad(99, FIRST_STEP),
                0.125,
            )
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
                Kind::Good,
                0.0025,
                0.0,
            )
        },
        Scenario {
            known: 0,
            ..all_crash(
                "one reading in 5,760, new nodes: identical",
                Kind::Good,
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
            bad(99, 1000),
            0.0025,
            0.125,
        ),
        all_crash(
            "one reading in 400, the new one in 40",
            bad(85, 9000),
            0.0025,
            0.025,
        ),
    ]);
    all.extend(changes());
    all.extend(spells());
    all.extend(shared_nodes());
    all.extend(small_fleets());
    all.extend(breaks());
    for scenario in &mut all {
        let share = scenario.common;
        scenario.p95 = scenario.shapes.map(|shape| shape.p95(share));
    }
    all
}

/// Errors that go on for several readings of a node.
fn spells() -> Vec<Scenario> {
    let spells = |name: &str, kind, error_factor| Scenario {
        error_spells: 0.01,
        error_factor,
        ..usual(&format!("errors in spells: {name}"), kind)
    };
    vec![
        spells("identical", Kind::Good, 1.0),
        spells("at the limit", Kind::Good, 1.5),
        spells("×20", Kind::UNBOUNDED, 20.0),
    ]
}

/// Versions on every node beside each other, as `by: requests` has it: ten nodes, and a single one,
/// which has as many requests as ten.
fn shared_nodes() -> Vec<Scenario> {
    let mut all = Vec::new();
    let worlds: [(&str, World); 2] = [("usual", usual), ("harsh", harsh)];
    for (name, world) in worlds {
        for (nodes, fleet, requests) in [("ten nodes", 10, 20), ("one node", 1, 200)] {
            let version = |version: &str, kind, [errors, latency, usage]: [f64; 3]| Scenario {
                shared: true,
                fleet,
                requests,
                error_factor: errors,
                latency_factor: latency,
                usage_factor: usage,
                ..world(&format!("by requests, {nodes}, {name}: {version}"), kind)
            };
            all.extend([
                version("identical", Kind::Good, [1.0; 3]),
                version("exactly at each limit", Kind::Good, [1.5, 2.0, 1.3]),
                version("errors ×20", Kind::UNBOUNDED, [20.0, 1.0, 1.0]),
                version("p95 ×4", Kind::UNBOUNDED, [1.0, 4.0, 1.0]),
            ]);
            all.push(Scenario {
                error_spells: 0.01,
                ..version("identical, errors in spells", Kind::Good, [1.0; 3])
            });
        }
    }
    all
}

/// Fleets of which the first step takes a half or a third.
fn small_fleets() -> Vec<Scenario> {
    let mut all = Vec::new();
    let worlds: [(&str, World); 2] = [("usual", usual), ("harsh", harsh)];
    for (name, world) in worlds {
        for fleet in [2, 3] {
            let version = |version: &str, kind, [errors, latency, usage]: [f64; 3]| Scenario {
                fleet,
                requests: 60,
                error_factor: errors,
                latency_factor: latency,
                usage_factor: usage,
                ..world(&format!("{fleet} nodes, {name}: {version}"), kind)
            };
            all.extend([
                version("identical", Kind::Good, [1.0; 3]),
                version("exactly at each limit", Kind::Good, [1.5, 2.0, 1.3]),
                version("errors ×20", Kind::UNBOUNDED, [20.0, 1.0, 1.0]),
                version("p95 ×4", Kind::UNBOUNDED, [1.0, 4.0, 1.0]),
            ]);
        }
    }
    all
}

/// A version that is good until the middle of the first soak.
fn breaks() -> Vec<Scenario> {
    vec![Scenario {
        breaks_at: READINGS / 2,
        errors: 0.001,
        error_factor: 50.0,
        ..usual("breaks in mid-soak: errors 0.1 → 5 %", Kind::UNBOUNDED)
    }]
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
                Kind::Bad {
                    found: 93,
                    within: 9400,
                },
                same,
                [20.0, 1.0],
                0.0,
            ),
            change(
                "latencies ×8 in the last step",
                Kind::Bad {
                    found: 99,
                    within: 8400,
                },
                same,
                [1.0, 8.0],
                0.0,
            ),
        ]
    };
    worlds.into_iter().flat_map(of_world).collect()
}
