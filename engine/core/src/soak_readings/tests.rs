mod sent_requests;

use super::*;
use crate::{Digest, Lifetime, ModuleTraffic, NodeStarts, ReadSlot, Timestamp};

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn module(version: &str, bytes: &str) -> ModuleVersion {
    ModuleVersion {
        name: "hello".parse().unwrap(),
        version: version.parse().unwrap(),
        digest: Digest::of(bytes.as_bytes()),
    }
}

/// Counters of a version: requests, and errors among them.
fn held(version: &str, bytes: &str, (requests, errors): (u64, u64)) -> VersionReading {
    VersionReading {
        digest: Digest::of(bytes.as_bytes()),
        version: Some(version.to_owned()),
        generation: 1,
        slot: None,
        requests,
        errors,
        in_flight: 0,
        client_faults: 0,
        cpu_micros: 0,
        latency: Histogram::default(),
        memory: 0,
        memory_sum: 0,
        instances: 0,
        refused: 0,
        queued: 0,
        synthetic: 0,
        module_metrics: Vec::new(),
        lifetime: None,
    }
}

/// A reading of a node that has received what its versions count.
fn reading(node: &str, at: u64, versions: Vec<VersionReading>) -> NodeReading {
    let counted = versions.iter().map(VersionReading::counted).sum();
    NodeReading {
        node: id(node),
        boot: "first".to_owned(),
        at: Timestamp::from_millis(at),
        cpu_millis: at,
        starts: Some(NodeStarts {
            starts: 1,
            crashes: 0,
        }),
        traffic: Some(ModuleTraffic {
            received: counted,
            finished: counted,
        }),
        versions,
    }
}

fn all() -> MetricNeeds {
    MetricNeeds {
        latency: true,
        module_metrics: true,
    }
}

/// A soak of version 2.0.0, whose bytes are `bytes`, on node `new` against node `old`.
fn soak(bytes: &str, start: Vec<NodeReading>) -> SoakReadings {
    let module = module("2.0.0", bytes);
    SoakReadings::new(vec![id("new")], vec![id("old")], module, all(), start)
}

fn only(observation: Observation) -> NodeInterval {
    assert_eq!(observation.inconsistent, []);
    assert_eq!(observation.intervals.len(), 1);
    observation.intervals.into_iter().next().unwrap()
}

/// A release candidate became the release: the same bytes ran under two versions.
#[test]
fn old_counters_of_the_same_bytes_are_not_counted_again() {
    let versions = |released| {
        vec![
            held("1.0.0-rc.1", "one", (2000, 60)),
            held("1.0.0", "one", released),
        ]
    };
    let mut soak = soak("two", vec![reading("old", 0, versions((100, 0)))]);
    let mut counted = (0, 0);
    for at in 1..=10 {
        let now = reading("old", at * 1000, versions((100 + 7 * at, 0)));
        let interval = only(soak.observe(vec![now]));
        assert_eq!(interval.canary, None);
        let baseline = interval.baseline.unwrap();
        counted = (counted.0 + baseline.requests, counted.1 + baseline.errors);
    }
    assert_eq!(counted, (70, 0));
}

#[test]
fn versions_with_the_same_bytes_are_compared_by_their_names() {
    let versions = |old, new| vec![held("1.0.0", "one", old), held("2.0.0", "one", new)];
    let start = vec![reading("old", 0, versions((50, 1), (0, 0)))];
    let mut soak = soak("one", start);
    let now = reading("old", 1000, versions((60, 2), (30, 3)));
    let baseline = only(soak.observe(vec![now])).baseline.unwrap();
    assert_eq!((baseline.requests, baseline.errors), (10, 1));
}

#[test]
fn counters_of_another_generation_began_at_zero() {
    let mut soak = soak(
        "two",
        vec![reading("new", 0, vec![held("2.0.0", "two", (9, 9))])],
    );
    let mut again = held("2.0.0", "two", (12, 1));
    again.generation = 2;
    let mut now = reading("new", 1000, vec![again]);
    now.traffic = Some(ModuleTraffic {
        received: 21,
        finished: 21,
    });
    let canary = only(soak.observe(vec![now])).canary.unwrap();
    assert_eq!((canary.requests, canary.errors), (12, 1));
}

#[test]
fn a_reading_that_counts_more_than_was_received_is_thrown_away() {
    let start = reading("new", 0, vec![held("2.0.0", "two", (100, 0))]);
    let mut soak = soak("two", vec![start]);
    let with_received = |at, requests, received| {
        let mut reading = reading("new", at, vec![held("2.0.0", "two", (requests, 0))]);
        reading.traffic = Some(ModuleTraffic {
            received,
            finished: received,
        });
        reading
    };
    let observation = soak.observe(vec![with_received(1000, 200, 150)]);
    assert_eq!(observation.intervals, []);
    assert_eq!(
        observation.inconsistent,
        [InconsistentReading {
            node: id("new"),
            reason: "its versions count 100 requests since the last reading, and it received at \
                     most 50"
                .to_owned()
        }]
    );
    // The next one is compared with it.
    let canary = only(soak.observe(vec![with_received(2000, 210, 160)])).canary;
    assert_eq!(canary.unwrap().requests, 10);
    let fallen = soak.observe(vec![with_received(3000, 205, 160)]);
    let reason = "its counter of requests to 2.0.0 fell from 210 to 205";
    assert_eq!(fallen.inconsistent[0].reason, reason);
    let twice = vec![
        held("2.0.0", "two", (300, 0)),
        held("2.0.0", "two", (300, 0)),
    ];
    let twice = soak.observe(vec![reading("new", 4000, twice)]);
    assert_eq!(twice.inconsistent[0].reason, "it counts 2.0.0 twice");
}

/// Requests that were in flight at the last reading may end before the next one.
#[test]
fn requests_in_flight_at_the_last_reading_are_no_contradiction() {
    let mut start = reading("new", 0, vec![held("2.0.0", "two", (100, 0))]);
    start.traffic = Some(ModuleTraffic {
        received: 130,
        finished: 100,
    });
    let mut soak = soak("two", vec![start]);
    let now = reading("new", 1000, vec![held("2.0.0", "two", (130, 0))]);
    let canary = only(soak.observe(vec![now])).canary.unwrap();
    assert_eq!(canary.requests, 30);
}

#[test]
fn a_crash_counts_with_what_was_lost_and_a_planned_restart_does_not() {
    let restarted = |starts, crashes, boot: &str, at| {
        let mut reading = reading("new", at, vec![held("2.0.0", "two", (5, 0))]);
        reading.boot = boot.to_owned();
        reading.starts = Some(NodeStarts { starts, crashes });
        reading
    };
    let mut before = held("2.0.0", "two", (100, 0));
    before.in_flight = 3;
    let mut soak = soak("two", vec![reading("new", 0, vec![before])]);
    let mut observe = |reading| only(soak.observe(vec![reading])).canary.unwrap();
    let killed = observe(restarted(4, 3, "second", 1000));
    assert_eq!((killed.restarts, killed.lost), (3, 3), "three starts later");
    assert_eq!(killed.requests, 5, "all since the restart");
    let planned = observe(restarted(5, 3, "third", 2000));
    assert_eq!((planned.restarts, planned.lost), (0, 0));
    let without_its_folder = observe(restarted(1, 0, "fourth", 3000));
    assert_eq!(without_its_folder.restarts, 1);
}

#[test]
fn the_new_version_is_suspect_where_one_process_runs_both() {
    let module = module("2.0.0", "two");
    let start = vec![reading("new", 0, Vec::new())];
    let nodes = || vec![id("new")];
    let mut soak = SoakReadings::new(nodes(), nodes(), module, all(), start);
    let mut now = reading("new", 1000, Vec::new());
    now.boot = "second".to_owned();
    now.starts = None;
    let interval = only(soak.observe(vec![now]));
    assert_eq!(interval.canary.unwrap().restarts, 1);
    assert_eq!(interval.baseline.unwrap().restarts, 0);
}

#[test]
fn memory_is_the_mean_of_the_instances_since_the_last_reading() {
    let memory = |memory_sum, instances| {
        let mut held = held("2.0.0", "two", (instances, 0));
        (held.memory, held.memory_sum, held.instances) = (7, memory_sum, instances);
        vec![held]
    };
    let mut soak = soak("two", vec![reading("new", 0, memory(1000, 10))]);
    let mut observe = |at, versions| {
        let interval = only(soak.observe(vec![reading("new", at, versions)]));
        interval.canary.unwrap().memory
    };
    assert_eq!(observe(1000, memory(1600, 12)), Some(300));
    assert_eq!(observe(2000, memory(1600, 12)), None, "no request ended");
}

#[test]
fn what_clients_did_is_summed_but_no_error() {
    let left = |client_faults| {
        let mut held = held("2.0.0", "two", (10, 0));
        held.client_faults = client_faults;
        vec![held]
    };
    let mut soak = soak("two", vec![reading("new", 0, left(2))]);
    let interval = only(soak.observe(vec![reading("new", 1000, left(9))]));
    assert_eq!(interval.canary.unwrap(), VersionInterval::default());
    let expected = ClientFaults {
        canary: 7,
        baseline: 0,
    };
    assert_eq!(soak.client_faults(), expected);
}

#[test]
fn a_node_on_both_sides_is_one_node() {
    let ids = |names: &[&str]| names.iter().copied().map(id).collect::<Vec<_>>();
    let (canary, baseline) = (ids(&["c", "a"]), ids(&["b", "a"]));
    let readings = SoakReadings::new(canary, baseline, module("2.0.0", "new"), all(), Vec::new());
    assert!(readings.nodes().eq(&ids(&["a", "b", "c"])));
    assert!(readings.canary().eq(&ids(&["a", "c"])));
}

/// How often processes crashed while they served the previous version, over all nodes that hold it.
#[test]
fn the_lifetime_of_the_previous_version_is_known_at_the_beginning() {
    let lifetime = |millis, crashes| Some(Lifetime { millis, crashes });
    let in_slot = |version, bytes, slot, lifetime| VersionReading {
        slot,
        lifetime,
        ..held(version, bytes, (0, 0))
    };
    let start = vec![
        reading(
            "new",
            0,
            vec![
                in_slot("0.9.0", "zero", None, lifetime(7, 7)),
                in_slot("1.0.0", "one", Some(ReadSlot::Previous), lifetime(400, 2)),
                in_slot("2.0.0", "two", Some(ReadSlot::Active), lifetime(30, 1)),
            ],
        ),
        reading(
            "old",
            0,
            vec![in_slot(
                "1.0.0",
                "one",
                Some(ReadSlot::Active),
                lifetime(500, 1),
            )],
        ),
        reading(
            "older",
            0,
            vec![in_slot("1.0.0", "one", Some(ReadSlot::Active), None)],
        ),
    ];
    let module = module("2.0.0", "two");
    let before = BeforeSoak::new(&[id("new")], &[id("old"), id("older")], &module, &start);
    assert_eq!(Some(before.lifetime), lifetime(900, 3));
    let last = BeforeSoak::new(&[id("new")], &[], &module, &start[..1]);
    assert_eq!(Some(last.lifetime), lifetime(400, 2));
}
