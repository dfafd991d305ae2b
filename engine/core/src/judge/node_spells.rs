//! By how much the latencies of single nodes depend on those just before.

use std::collections::BTreeMap;

use crate::{Bursts, Histogram, NodeId};

use super::design_effect::FIRST as UNKNOWN;
use super::dispersion::{PRIOR, PRIOR_WEIGHT};

/// The lengths of the blocks of readings that are compared.
const LENGTHS: [u32; 4] = [1, 2, 4, 8];
/// So many readings of a node are compared with those of other nodes.
const FIRST: u32 = 8;
/// Fewer differences say nothing: three blocks of one node have so many.
const LEAST_COUNT: f64 = 2.0;
/// From fewer nodes nothing is known of how much nodes differ.
const LEAST_NODES: usize = 3;
/// More nodes say hardly more, and what a soak holds is bounded.
const MOST_NODES: usize = 64;

/// The design effect within the nodes of one side: by how much the share of slow requests of a node
/// differs between neighbouring blocks of its readings, over what it does where latencies are
/// independent.
///
/// A slow spell of one node is hardly seen in the sum of many, and a single node shows only a few
/// of its own in a soak. All nodes of a side together show how long spells are.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeSpells {
    /// What earlier soaks saw.
    earlier: Bursts,
    /// Readings from before it is known which requests are slow.
    waiting: Vec<(NodeId, Histogram)>,
    nodes: BTreeMap<NodeId, Node>,
    lengths: [Differences; LENGTHS.len()],
    all: Share,
}

/// The slow requests of some, and how many there were.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    slow: f64,
    total: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Node {
    readings: u32,
    /// Of its first readings.
    first: Share,
    blocks: [Blocks; LENGTHS.len()],
}

/// The block of readings that is filled now, and the last one.
#[derive(Debug, Clone, Copy, Default)]
struct Blocks {
    readings: u32,
    current: Share,
    last: Option<Share>,
}

/// The squared differences of neighbouring blocks, and how many there were.
#[derive(Debug, Clone, Copy, Default)]
struct Differences {
    squares: f64,
    count: f64,
}

impl NodeSpells {
    /// Of a deployment whose earlier soaks saw this.
    pub(super) fn after_soaks(earlier: Bursts) -> Self {
        Self {
            earlier,
            ..Self::default()
        }
    }

    /// What was seen in this soak: of the longest blocks.
    pub(super) fn seen(&self) -> Bursts {
        let [.., shorter, longest] = self.lengths;
        let spread = self.all.spread();
        if longest.count <= 0.0 || spread <= 0.0 {
            return Bursts::default();
        }
        let (shorter, longest_effect) = (shorter.mean() / spread, longest.mean() / spread);
        // Where these resemble each other more than the shorter ones do, spells are longer still.
        let effect = longest_effect + (longest_effect - shorter).max(0.0);
        Bursts {
            squares: longest.count * effect,
            expected: longest.count,
        }
    }

    /// Adds a reading of a node. Requests above the bucket `slow_above` are slow; `None` while
    /// that is not known.
    pub(super) fn add(&mut self, node: &NodeId, latency: &Histogram, slow_above: Option<usize>) {
        if latency.is_empty() {
            return;
        }
        let Some(slow_above) = slow_above else {
            if self.waiting.len() < UNKNOWN * MOST_NODES {
                self.waiting.push((node.clone(), latency.clone()));
            }
            return;
        };
        for (node, latency) in std::mem::take(&mut self.waiting) {
            self.add_share(&node, Share::of(&latency, slow_above));
        }
        self.add_share(node, Share::of(latency, slow_above));
    }

    fn add_share(&mut self, id: &NodeId, share: Share) {
        if !self.nodes.contains_key(id) && self.nodes.len() < MOST_NODES {
            self.nodes.insert(id.clone(), Node::default());
        }
        let Some(node) = self.nodes.get_mut(id) else {
            return;
        };
        self.all.add(share);
        if node.readings < FIRST {
            node.readings += 1;
            node.first.add(share);
        }
        let lengths = node.blocks.iter_mut().zip(LENGTHS);
        for ((blocks, length), differences) in lengths.zip(&mut self.lengths) {
            if let Some(square) = blocks.add(share, length) {
                differences.squares += square;
                differences.count += 1.0;
            }
        }
    }

    /// The design effect, 1 or more. 1 while nothing is known.
    pub(super) fn value(&self) -> f64 {
        let spread = self.all.spread();
        if spread <= 0.0 {
            return 1.0;
        }
        let [shorter @ .., _] = &self.lengths;
        let shorter = shorter
            .iter()
            .map(|length| effect(length.squares / spread, length.count))
            .fold(1.0, f64::max);
        let seen = self.seen();
        let longest = effect(
            self.earlier.squares + seen.squares,
            self.earlier.expected + seen.expected,
        );
        let between = if seen.expected > 0.0 {
            1.0
        } else {
            self.between_nodes()
        };
        shorter.max(longest).max(between)
    }

    /// By how much nodes differ from each other in their first readings: also by themselves, so
    /// it counts only until spells show.
    fn between_nodes(&self) -> f64 {
        let shares = || self.nodes.values().map(|node| node.first);
        let nodes = self.nodes.len();
        let mut all = Share::default();
        shares().for_each(|share| all.add(share));
        let spread = all.spread();
        if nodes < LEAST_NODES || spread <= 0.0 {
            return 1.0;
        }
        let squares: f64 = shares()
            .map(|share| (share.rate() - all.rate()).powi(2) * share.total)
            .sum();
        effect(squares / spread, nodes as f64 - 1.0)
    }
}

/// The design effect by so many squares, each of which is 1 where latencies are independent. 1 where
/// there is hardly one.
fn effect(squares: f64, count: f64) -> f64 {
    if count >= LEAST_COUNT {
        ((PRIOR_WEIGHT * PRIOR + squares) / (PRIOR_WEIGHT + count)).max(1.0)
    } else {
        1.0
    }
}

impl Share {
    fn of(latency: &Histogram, slow_above: usize) -> Self {
        Self {
            slow: latency.above_bucket(slow_above) as f64,
            total: latency.total() as f64,
        }
    }

    fn add(&mut self, other: Self) {
        self.slow += other.slow;
        self.total += other.total;
    }

    fn rate(self) -> f64 {
        self.slow / self.total
    }

    /// The variance of one request. Neither none nor all of them are taken to be slow.
    fn spread(self) -> f64 {
        if self.total <= 0.0 {
            return 0.0;
        }
        let edge = 1.0_f64.min(self.total / 2.0);
        let rate = self.slow.clamp(edge, self.total - edge) / self.total;
        rate * (1.0 - rate)
    }
}

impl Differences {
    fn mean(self) -> f64 {
        if self.count > 0.0 {
            self.squares / self.count
        } else {
            0.0
        }
    }
}

impl Blocks {
    /// Adds a reading. Returns the squared difference to the last block, over what requests of
    /// both make of it, where a block of `length` readings is full.
    fn add(&mut self, share: Share, length: u32) -> Option<f64> {
        self.current.add(share);
        self.readings += 1;
        if self.readings < length {
            return None;
        }
        self.readings = 0;
        let block = std::mem::take(&mut self.current);
        let before = self.last.replace(block)?;
        let difference = block.rate() - before.rate();
        Some(difference * difference / (1.0 / block.total + 1.0 / before.total))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SLOW_ABOVE: Duration = Duration::from_millis(50);

    fn latencies(fast: u64, slow: u64) -> Histogram {
        let mut counts = vec![0; Histogram::BUCKETS];
        counts[Histogram::bucket(Duration::from_millis(5))] = fast;
        counts[Histogram::bucket(Duration::from_millis(500))] = slow;
        Histogram::from_counts(counts)
    }

    /// The design effect of nine nodes after so many readings, of which each has 20 requests.
    fn after(readings: u64, slow: impl Fn(u64, u64) -> u64) -> NodeSpells {
        let mut spells = NodeSpells::default();
        let slow_above = Histogram::bucket(SLOW_ABOVE);
        for at in 0..readings {
            for node in 0..9 {
                let id = format!("n{node}").parse().unwrap();
                let slow = slow(node, at);
                let known = (at >= 2).then_some(slow_above);
                spells.add(&id, &latencies(20 - slow, slow), known);
            }
        }
        spells
    }

    /// One node in nine is slow for five readings, then the next one.
    fn spell(node: u64, at: u64) -> u64 {
        if at / 5 % 9 == node { 10 } else { 0 }
    }

    #[test]
    fn steady_nodes_have_no_effect() {
        assert_eq!(after(40, |_, _| 1).value(), 1.0);
        assert_eq!(after(2, |_, _| 1).value(), 1.0, "nothing is known yet");
    }

    #[test]
    fn a_slow_spell_of_one_node_counts_as_few_requests() {
        let effect = after(40, spell).value();
        assert!((10.0..100.0).contains(&effect), "{effect}");
    }

    /// The first spell is known by the nodes that have none.
    #[test]
    fn before_there_are_blocks_nodes_tell_by_how_much_they_differ() {
        let spells = after(3, spell);
        assert_eq!(spells.seen(), Bursts::default());
        assert!(spells.value() > 4.0, "{}", spells.value());
    }

    #[test]
    fn what_earlier_soaks_saw_is_known_from_the_third_reading() {
        let seen = after(40, spell).seen();
        assert!(seen.squares > 10.0 * seen.expected, "{seen:?}");
        let mut later = NodeSpells::after_soaks(seen);
        let node = "n0".parse().unwrap();
        later.add(
            &node,
            &latencies(19, 1),
            Some(Histogram::bucket(SLOW_ABOVE)),
        );
        assert!(later.value() > 5.0, "{}", later.value());
    }

    /// What is held does not grow with the fleet.
    #[test]
    fn only_so_many_nodes_are_followed() {
        let mut spells = NodeSpells::default();
        for node in 0..1000 {
            let id = format!("n{node}").parse().unwrap();
            spells.add(&id, &latencies(19, 1), None);
            spells.add(&id, &latencies(19, 1), None);
        }
        assert_eq!(spells.waiting.len(), UNKNOWN * MOST_NODES);
        let id = "n0".parse().unwrap();
        spells.add(&id, &latencies(19, 1), Some(0));
        assert_eq!(spells.nodes.len(), MOST_NODES);
        assert!(spells.waiting.is_empty());
    }
}
