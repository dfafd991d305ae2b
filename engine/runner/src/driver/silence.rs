//! Nodes of a soak that do not report in any more.

use std::time::{Duration, Instant};

use hotswap_core::{Health, Judgement, NodeId, Verdict};
use hotswap_fleet::Fleet;

use super::failed_nodes::name_nodes;
use super::timers::{End, Timers};

/// How often the nodes of a soak are looked after. Only memory is read.
const INTERVAL: Duration = Duration::from_secs(1);

/// Grace period for a node that announced a stop (it may be restarting), and for a node that is
/// unknown to this engine. Equals the silence after which a node becomes critical, with the default
/// heartbeats.
const GRACE: Duration = Duration::from_secs(12);

/// Notices when nodes that run the new version fall silent. Uses the node's public health: it is
/// critical after the same number of missed heartbeats. A node has no health if it was removed, or
/// if this engine has not heard of it since it started: such a node counts as silent, too.
pub(super) struct SilenceWatch {
    /// How many nodes may be silent, unless they are all that run the new version.
    tolerated: usize,
    away: AwayNodes,
}

/// Since when nodes are away that have [`GRACE`], sorted by node. No map, which holds room for
/// eleven nodes as soon as it has had one: ten thousand soaks may be under way.
#[derive(Default)]
struct AwayNodes(Vec<(NodeId, Instant)>);

/// A node that does not report in, and what was last heard of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SilentNode {
    node: NodeId,
    reason: Option<String>,
}

impl SilenceWatch {
    pub(super) fn new(tolerated: usize) -> Self {
        Self {
            tolerated,
            away: AwayNodes::default(),
        }
    }

    /// Waits until more of these nodes, which run the new version, are silent than may be, or all
    /// of them, and returns the silent ones. `None` once `end` has passed.
    ///
    /// Cancel safe.
    pub(super) async fn wait(
        &mut self,
        canary: impl Iterator<Item = &NodeId> + Clone,
        fleet: &dyn Fleet,
        timers: &Timers,
        end: End,
    ) -> Option<Vec<SilentNode>> {
        loop {
            let silent = self.silent(canary.clone(), fleet, timers.instant());
            let is_over = silent.len() > self.tolerated || silent.len() == canary.clone().count();
            if is_over && !silent.is_empty() {
                return Some(silent);
            }
            if timers.has_passed(end) {
                return None;
            }
            timers.sleep_until(end.min(timers.after(INTERVAL))).await;
        }
    }

    fn silent<'a>(
        &mut self,
        canary: impl Iterator<Item = &'a NodeId>,
        fleet: &dyn Fleet,
        now: Instant,
    ) -> Vec<SilentNode> {
        let mut silent = Vec::new();
        for node in canary {
            let report = fleet.health(node);
            let has_grace = match report.health {
                Health::Critical => fleet.has_stopped(node),
                Health::Unknown if fleet.is_unheard(node) => true,
                // It gets the time to report in.
                Health::Unknown => {
                    self.away.since(node, now);
                    continue;
                }
                Health::Passing | Health::Warning => {
                    self.away.remove(node);
                    continue;
                }
            };
            if has_grace {
                let since = self.away.since(node, now);
                if now.saturating_duration_since(since) < GRACE {
                    continue;
                }
            }
            silent.push(SilentNode {
                node: node.clone(),
                reason: report.reason,
            });
        }
        silent
    }
}

impl AwayNodes {
    /// Since when a node is away: from `now` on, if it was not until now.
    fn since(&mut self, node: &NodeId, now: Instant) -> Instant {
        match self.place(node) {
            Ok(place) => self.0[place].1,
            Err(place) => {
                if self.0.is_empty() {
                    self.0.reserve_exact(1);
                }
                self.0.insert(place, (node.clone(), now));
                now
            }
        }
    }

    /// Forgets a node that is back. Frees its memory with the last one.
    fn remove(&mut self, node: &NodeId) {
        if let Ok(place) = self.place(node) {
            self.0.remove(place);
            if self.0.is_empty() {
                self.0 = Vec::new();
            }
        }
    }

    fn place(&self, node: &NodeId) -> Result<usize, usize> {
        self.0.binary_search_by(|(away, _)| away.cmp(node))
    }
}

/// The verdict of a soak whose nodes fell silent. A check of `restarts` fails, because their
/// processes may have ended. Without such a check, the strategy has to notice.
pub(super) fn conclude(mut verdict: Verdict, silent: &[SilentNode]) -> Verdict {
    let names = name_nodes(silent.iter().map(|silent| &silent.node));
    let heard = silent.iter().find_map(|silent| silent.reason.as_deref());
    let heard = heard.map_or_else(String::new, |heard| format!(" ({heard})"));
    let (does, nodes) = match silent.len() {
        1 => ("does", "node"),
        _ => ("do", "nodes"),
    };
    for finding in &mut verdict.findings {
        if finding.check.metric == "restarts" {
            finding.judgement = Judgement::Fail;
            let before = std::mem::take(&mut finding.reason);
            finding.reason = format!(
                "{nodes} {names} {does} not report in any more{heard}, so the soak ended early; \
                 {before}"
            );
            verdict.judgement = Judgement::Fail;
        } else if finding.judgement != Judgement::Fail {
            let before = std::mem::take(&mut finding.reason);
            finding.reason =
                format!("the soak ended early, because {names} {does} not report in; {before}");
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hotswap_core::{Check, Finding};

    use super::super::fixture::{ListedFleet, TestClock};
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn ids(names: &[&str]) -> Vec<NodeId> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn fleet(critical: &[&str]) -> ListedFleet {
        let mut fleet = ListedFleet::new(&[]);
        fleet.set_health("a", Health::Passing);
        fleet.set_health("b", Health::Passing);
        for node in critical {
            fleet.set_health(node, Health::Critical);
        }
        fleet
    }

    /// The nodes that end a soak on the nodes a and b, and after which time. Nobody but `tolerated`
    /// nodes may be silent.
    async fn ended_by(fleet: &ListedFleet, tolerated: usize) -> Option<(Vec<NodeId>, Duration)> {
        let timers = Timers::new(Arc::new(TestClock::default()));
        let canary = ids(&["a", "b"]);
        let mut watch = SilenceWatch::new(tolerated);
        let began = tokio::time::Instant::now();
        let end = timers.after(MINUTE);
        let silent = watch.wait(canary.iter(), fleet, &timers, end).await?;
        let silent = silent.into_iter().map(|silent| silent.node);
        Some((silent.collect(), began.elapsed()))
    }

    #[tokio::test(start_paused = true)]
    async fn more_critical_nodes_than_are_tolerated_end_a_soak() {
        assert_eq!(ended_by(&fleet(&[]), 0).await, None);
        let ended = ended_by(&fleet(&["b"]), 0).await;
        assert_eq!(ended, Some((ids(&["b"]), Duration::ZERO)));
        assert_eq!(ended_by(&fleet(&["b"]), 1).await, None);
        let ended = ended_by(&fleet(&["a", "b"]), 1).await;
        assert_eq!(ended, Some((ids(&["a", "b"]), Duration::ZERO)));
    }

    /// Where no node is left that runs the new version, nothing can be learned of it.
    #[tokio::test(start_paused = true)]
    async fn a_soak_ends_when_all_of_its_nodes_are_silent_however_many_are_tolerated() {
        let all = Some((ids(&["a", "b"]), Duration::ZERO));
        for tolerated in [2, 5] {
            assert_eq!(ended_by(&fleet(&["a"]), tolerated).await, None);
            assert_eq!(ended_by(&fleet(&["a", "b"]), tolerated).await, all);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_has_said_that_it_stops_has_time_to_come_back() {
        let mut fleet = fleet(&["b"]);
        fleet.stopped = ids(&["b"]);
        let (nodes, after) = ended_by(&fleet, 0).await.unwrap();
        assert_eq!(nodes, ids(&["b"]));
        assert!(after >= GRACE && after < 2 * GRACE, "{after:?}");
    }

    /// After a start of the engine, nothing is known of a node that died before.
    #[tokio::test(start_paused = true)]
    async fn a_node_that_an_engine_has_never_heard_of_is_silent() {
        let mut fleet = fleet(&[]);
        fleet.set_health("b", Health::Unknown);
        assert_eq!(ended_by(&fleet, 0).await, None, "it has time to report in");
        fleet.unheard = ids(&["b"]);
        let (nodes, after) = ended_by(&fleet, 0).await.unwrap();
        assert_eq!(nodes, ids(&["b"]));
        assert!(after >= GRACE && after < 2 * GRACE, "{after:?}");
        assert_eq!(ended_by(&fleet, 1).await, None);
    }

    #[test]
    fn nodes_that_are_back_take_no_memory() {
        let (first, second) = (Instant::now(), Instant::now() + GRACE);
        let mut away = AwayNodes::default();
        let nodes = ids(&["b", "a", "c"]);
        for node in &nodes {
            assert_eq!(away.since(node, first), first);
        }
        for node in &nodes {
            assert_eq!(away.since(node, second), first);
            away.remove(node);
        }
        assert_eq!(away.0.capacity(), 0);
        assert_eq!(away.since(&nodes[0], second), second);
    }

    #[test]
    fn only_a_check_of_restarts_fails_for_silence() {
        let finding = |metric: &str| Finding {
            check: Check {
                metric: metric.to_owned(),
                max: Some(0.0),
                max_increase: None,
                min_increase: None,
            },
            judgement: Judgement::Inconclusive,
            canary: None,
            baseline: None,
            canary_samples: 0,
            baseline_samples: 0,
            reason: "too few samples".to_owned(),
            conditions: Vec::new(),
            queried: Vec::new(),
        };
        let verdict = |metrics: &[&str]| Verdict {
            judgement: Judgement::Inconclusive,
            findings: metrics.iter().map(|metric| finding(metric)).collect(),
            promoted_by: None,
        };
        let silent = [SilentNode {
            node: "b".parse().unwrap(),
            reason: Some("it was last heard of 12.0 s ago".to_owned()),
        }];
        let concluded = conclude(verdict(&["error-rate", "restarts"]), &silent);
        assert_eq!(concluded.judgement, Judgement::Fail);
        assert_eq!(concluded.findings[0].judgement, Judgement::Inconclusive);
        assert_eq!(concluded.findings[1].judgement, Judgement::Fail);
        assert_eq!(
            concluded.findings[1].reason,
            "node b does not report in any more (it was last heard of 12.0 s ago), so the soak \
             ended early; too few samples"
        );
        let concluded = conclude(verdict(&["error-rate"]), &silent);
        assert_eq!(concluded.judgement, Judgement::Inconclusive);
    }
}
