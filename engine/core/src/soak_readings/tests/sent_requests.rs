//! Whatever nodes go through in a soak, no request is evidence twice.

use proptest::prelude::*;

use super::*;

/// What happens to a node. The flag is whether it is about the new version.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Sent(bool),
    Answered(bool),
    Failed(bool),
    Left(bool),
    /// A response goes on for so long that it counts before it ends.
    Streams(bool),
    StreamEnds(bool),
    /// A version is dropped and loaded again: its counters begin at zero.
    LoadedAgain(bool),
    Read,
    Crashes,
    Stops,
}

#[derive(Debug, Default, Clone, Copy)]
struct ModelVersion {
    generation: u64,
    received: u64,
    requests: u64,
    errors: u64,
    left: u64,
    /// In flight, and not counted yet.
    waiting: u64,
    streaming: u64,
}

/// A node that runs both versions.
#[derive(Debug, Default)]
struct ModelNode {
    versions: [ModelVersion; 2],
    traffic: ModuleTraffic,
    starts: NodeStarts,
    /// What was sent to each version since the soak began.
    sent: [u64; 2],
}

impl ModelNode {
    fn happens(&mut self, happening: Happening) {
        let version = |new: bool| usize::from(new);
        match happening {
            Happening::Sent(new) => {
                let held = &mut self.versions[version(new)];
                held.received += 1;
                held.waiting += 1;
                self.traffic.received += 1;
                self.sent[version(new)] += 1;
            }
            Happening::Answered(new) | Happening::Failed(new) | Happening::Left(new) => {
                let held = &mut self.versions[version(new)];
                if held.waiting > 0 {
                    held.waiting -= 1;
                    self.traffic.finished += 1;
                    match happening {
                        Happening::Left(_) => held.left += 1,
                        Happening::Failed(_) => {
                            held.requests += 1;
                            held.errors += 1;
                        }
                        _ => held.requests += 1,
                    }
                }
            }
            Happening::Streams(new) => {
                let held = &mut self.versions[version(new)];
                if held.waiting > 0 {
                    held.waiting -= 1;
                    held.streaming += 1;
                    held.requests += 1;
                }
            }
            Happening::StreamEnds(new) => {
                let held = &mut self.versions[version(new)];
                if held.streaming > 0 {
                    held.streaming -= 1;
                    self.traffic.finished += 1;
                }
            }
            Happening::LoadedAgain(new) => {
                let held = &mut self.versions[version(new)];
                // Requests in flight end on the replaced instance. Its counters are not read any more.
                self.traffic.finished += held.waiting + held.streaming;
                *held = ModelVersion {
                    generation: held.generation + 1,
                    ..ModelVersion::default()
                };
            }
            Happening::Crashes | Happening::Stops => {
                self.versions = Default::default();
                self.traffic = ModuleTraffic::default();
                self.starts.starts += 1;
                self.starts.crashes += u64::from(matches!(happening, Happening::Crashes));
            }
            Happening::Read => {}
        }
    }

    fn read(&self, at: u64) -> NodeReading {
        let names = [("1.0.0", "one"), ("2.0.0", "two")];
        let versions = names.iter().zip(self.versions);
        let versions = versions.map(|((version, bytes), model)| {
            let mut held = held(version, bytes, (model.requests, model.errors));
            held.generation = 1 + model.generation;
            held.client_faults = model.left;
            held.in_flight = model.received - model.requests - model.left;
            held
        });
        NodeReading {
            boot: self.starts.starts.to_string(),
            starts: Some(self.starts),
            traffic: Some(self.traffic),
            ..reading("new", at, versions.collect())
        }
    }
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let of_a_version = |happening: fn(bool) -> Happening| any::<bool>().prop_map(happening);
    prop_oneof![
        8 => of_a_version(Happening::Sent),
        4 => of_a_version(Happening::Answered),
        2 => of_a_version(Happening::Failed),
        1 => of_a_version(Happening::Left),
        1 => of_a_version(Happening::Streams),
        1 => of_a_version(Happening::StreamEnds),
        1 => of_a_version(Happening::LoadedAgain),
        4 => Just(Happening::Read),
        1 => Just(Happening::Crashes),
        1 => Just(Happening::Stops),
    ]
}

proptest! {
    #[test]
    fn counted_and_lost_requests_never_exceed_those_sent(
        happenings in proptest::collection::vec(any_happening(), 0..200),
    ) {
        let mut node = ModelNode::default();
        let nodes = || vec![id("new")];
        let start = vec![node.read(0)];
        let mut soak =
            SoakReadings::new(nodes(), nodes(), module("2.0.0", "two"), all(), start);
        let mut counted = [0_u64; 2];
        let mut at = 0;
        for happening in happenings.into_iter().chain([Happening::Read]) {
            node.happens(happening);
            if !matches!(happening, Happening::Read) {
                continue;
            }
            at += 1000;
            let observation = soak.observe(vec![node.read(at)]);
            prop_assert_eq!(&observation.inconsistent, &[]);
            for interval in observation.intervals {
                let sides = [interval.baseline.unwrap(), interval.canary.unwrap()];
                for (sum, side) in counted.iter_mut().zip(sides) {
                    *sum += side.requests + side.lost;
                    prop_assert!(side.errors <= side.requests);
                }
            }
            let left = soak.client_faults();
            prop_assert!(counted[0] + left.baseline <= node.sent[0], "{:?} {:?}", counted, node);
            prop_assert!(counted[1] + left.canary <= node.sent[1], "{:?} {:?}", counted, node);
        }
    }
}
