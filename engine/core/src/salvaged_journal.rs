use std::collections::BTreeSet;

use crate::{Event, EventBody, Header, Node, NodeId, Verification};

/// What the readable events of a damaged journal tell of the deployment: enough to revert its
/// nodes. A fold that never fails.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SalvagedJournal {
    /// The request, where it can be read.
    pub header: Option<Box<Header>>,
    /// The nodes of the plan, with the versions that they ran before. Empty where the plan
    /// cannot be read, or was never made.
    pub nodes: Vec<Node>,
    /// The nodes that a readable call changed, or may have.
    pub touched: BTreeSet<NodeId>,
    /// Whether the strategy had succeeded.
    pub has_succeeded: bool,
    /// The earlier answers of the nodes, if the journal holds them.
    pub verification: Option<Verification>,
    /// Whether an admin has requested the end of the deployment.
    pub is_terminated: bool,
}

impl SalvagedJournal {
    /// Folds the events that can be read, whatever is missing between them.
    pub fn fold(events: impl IntoIterator<Item = Event>) -> Self {
        let mut salvaged = Self::default();
        for event in events {
            salvaged.apply(event);
        }
        salvaged
    }

    fn apply(&mut self, event: Event) {
        match event.body {
            EventBody::Requested(header) if self.header.is_none() => self.header = Some(header),
            // The first plan holds: a journal has one.
            EventBody::Planned { nodes, .. } if self.nodes.is_empty() => self.nodes = nodes,
            EventBody::Called { request, .. } => {
                self.touched.extend(request.changed_nodes().iter().cloned());
            }
            EventBody::Repairing(repair) => drop(self.touched.insert(repair.node)),
            EventBody::WritesLost { .. } => {
                self.touched
                    .extend(self.nodes.iter().map(|node| node.id.clone()));
            }
            EventBody::Settling(verification) => {
                self.has_succeeded = true;
                self.verification = verification;
            }
            EventBody::TerminationRequested { .. } => self.is_terminated = true,
            EventBody::Requested(_)
            | EventBody::Planned { .. }
            | EventBody::Gated { .. }
            | EventBody::Answered { .. }
            | EventBody::Decided { .. }
            | EventBody::Paused { .. }
            | EventBody::Resumed { .. }
            | EventBody::AbortRequested { .. }
            | EventBody::PromoteRequested { .. }
            | EventBody::Repaired(_)
            | EventBody::RepairFailed { .. }
            | EventBody::Reverting { .. }
            | EventBody::Ended { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Call, Health, Timestamp};

    fn event(seq: u64, body: EventBody) -> Event {
        Event {
            seq,
            position: seq,
            at: Timestamp::from_millis(seq),
            body,
        }
    }

    #[test]
    fn what_can_be_read_tells_the_plan_the_touched_nodes_and_the_request_to_end() {
        let node = |id: &str| Node {
            id: id.parse().unwrap(),
            zone: None,
            labels: Default::default(),
            health: Health::Passing,
            active: None,
            fault: None,
        };
        let plan = vec![node("a"), node("b")];
        let stage = EventBody::Called {
            call: 0,
            request: Call::Stage {
                nodes: vec!["b".parse().unwrap()],
            },
            due: None,
            readings: Vec::new(),
            answer: None,
        };
        let terminated = EventBody::TerminationRequested {
            by: "ada".into(),
            reason: None,
        };
        let nodes = plan.clone();
        // Events 0, 2 and 4 cannot be read.
        let salvaged = SalvagedJournal::fold([
            event(
                1,
                EventBody::Planned {
                    nodes,
                    missing: Vec::new(),
                    cordoned: Vec::new(),
                },
            ),
            event(3, stage),
            event(5, terminated),
        ]);
        assert_eq!(salvaged.header, None);
        assert_eq!(salvaged.nodes, plan);
        assert!(salvaged.touched.iter().map(NodeId::as_str).eq(["b"]));
        assert!(salvaged.is_terminated);
        assert!(!salvaged.has_succeeded);
        let salvaged = SalvagedJournal::fold([event(7, EventBody::Settling(None))]);
        assert!(salvaged.has_succeeded && !salvaged.is_terminated);
    }
}
