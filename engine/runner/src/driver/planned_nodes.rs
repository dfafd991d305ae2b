//! The nodes of a plan, as a strategy sees them later.

use std::collections::HashMap;

use hotswap_core::{Health, Node};

/// The nodes of the plan, in its order, as `now` has them. A node that is gone is critical.
pub(super) fn planned_nodes(plan: &[Node], now: Vec<Node>) -> Vec<Node> {
    let mut now: HashMap<_, _> = now
        .into_iter()
        .map(|node| (node.id.clone(), node))
        .collect();
    let planned = plan.iter().map(|planned| {
        now.remove(&planned.id).unwrap_or_else(|| Node {
            health: Health::Critical,
            active: None,
            fault: None,
            ..planned.clone()
        })
    });
    planned.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::fixture;
    use super::*;

    fn node(id: &str, version: Option<&str>) -> Node {
        Node {
            id: id.parse().unwrap(),
            zone: None,
            labels: BTreeMap::new(),
            health: Health::Passing,
            active: version.map(fixture::module),
            fault: None,
        }
    }

    #[test]
    fn a_strategy_sees_the_nodes_of_its_plan_and_those_that_are_gone_as_critical() {
        let plan = ["c", "a", "b"].map(|id| node(id, Some("1.0.0")));
        // `d` has registered since the plan was made.
        let now = vec![
            node("a", Some("2.0.0")),
            node("c", None),
            node("d", Some("1.0.0")),
        ];
        let gone = Node {
            health: Health::Critical,
            ..node("b", None)
        };
        let expected = [node("c", None), node("a", Some("2.0.0")), gone];
        assert_eq!(planned_nodes(&plan, now), expected);
    }
}
