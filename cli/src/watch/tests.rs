use super::tree::{Frame, Link};
use super::*;

fn told(bodies: &[(u64, serde_json::Value)]) -> (Story, Vec<String>) {
    let mut story: Option<Story> = None;
    let mut said = Vec::new();
    for event in samples::journal(bodies) {
        said.extend(lines::of(story.as_ref(), &event));
        match &mut story {
            None => story = Some(Story::begin(&event).unwrap()),
            Some(story) => story.take(&event).unwrap(),
        }
    }
    (story.unwrap(), said)
}

fn frame(millis: u64) -> Frame {
    Frame {
        now: samples::at(millis),
        link: Link::Live,
        colours: false,
        rows: 40,
    }
}

fn drawn(story: &Story, frame: &Frame) -> String {
    tree::picture(story, frame)
        .iter()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

#[test]
fn lines_tell_a_rollback_with_its_reason() {
    let (_, said) = told(&samples::rolled_back());
    assert_eq!(
        said.join("\n"),
        "\
16:02:00Z  hello 2.0.0 → production by canary, asked for by ada@example.org
16:02:00Z  deployment 01890a5d-ac96-774b-bcce-b302099a8057
16:02:00Z  planned 4 nodes: prod-1 prod-2 prod-3 prod-4
16:02:00Z  ▶ stage canary 10 % (0 %)
16:02:00Z  ✔ staged: prod-1
16:02:00Z  ✔ switched: prod-1
16:02:01Z  watching prod-1 against prod-2 prod-3 prod-4 for 10s
16:02:06Z  ✘ fail: error-rate: 9.8 % of 102 requests failed, against 0 % of 305
16:02:06Z  ✔ pass: latency-p95: 3 ms against 3 ms
16:02:06Z  ↩ rolling back: check error-rate failed: 9.8 % of 102 requests failed, against 0 % of 305
16:02:06Z  ✘ rolled back after 6s: check error-rate failed: 9.8 % of 102 requests failed, against 0 % of 305"
    );
}

#[test]
fn lines_tell_which_node_did_not_do_as_asked() {
    let mut bodies = samples::soaking();
    bodies.truncate(3);
    bodies.push((
        30,
        samples::called(
            1,
            serde_json::json!(
        {"call": "stage", "arguments": {"nodes": ["prod-1", "prod-2"]}}),
        ),
    ));
    bodies.push((
        90,
        samples::answered(
            1,
            serde_json::json!({"answer": "nodewise", "value":
        [{"node": "prod-2", "error": {"kind": "unreachable", "reason": "no answer in 5s"}}]}),
        ),
    ));
    let (story, said) = told(&bodies);
    assert_eq!(
        said[said.len() - 2..],
        [
            "16:02:00Z  ✔ staged: prod-1",
            "16:02:00Z  ✘ prod-2: unreachable: no answer in 5s"
        ]
    );
    let picture = drawn(&story, &frame(100));
    assert!(picture.contains("✘ prod-2  failed"), "{picture}");
    assert!(
        picture.contains("unreachable: no answer in 5s"),
        "{picture}"
    );
}

#[test]
fn the_tree_shows_waves_and_what_is_waited_for() {
    let (story, _) = told(&samples::soaking());
    assert_eq!(
        drawn(&story, &frame(4000)),
        "\
hello 2.0.0 → production   ▶ running
strategy canary 0.1.0 · stage 1: canary 10 %
[░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░]   0 %   watching 1 node, 7s left
live, last event 3s ago · 01890a5d-ac96-774b-bcce-b302099a8057

├─ ▶ canary 10 %  3s
│  └─ ● prod-1  active, watched     1.0.0 → 2.0.0  a
└─ ○ not yet
   ├─ ○ prod-2  pending             1.0.0  a
   ├─ ○ prod-3  pending             1.0.0  a
   └─ ○ prod-4  pending             1.0.0  a
"
    );
}

#[test]
fn the_tree_ends_with_the_reason() {
    let (story, _) = told(&samples::rolled_back());
    assert_eq!(
        drawn(&story, &frame(7000)),
        "\
hello 2.0.0 → production   ✘ rolled back
strategy canary 0.1.0 · stage 1: canary 10 %
[░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░]   0 %
01890a5d-ac96-774b-bcce-b302099a8057

├─ ✘ canary 10 %  5s
│  └─ ↩ prod-1  put back            1.0.0  a
└─ ○ not touched
   ├─ ○ prod-2  pending             1.0.0  a
   ├─ ○ prod-3  pending             1.0.0  a
   └─ ○ prod-4  pending             1.0.0  a

checks of the last watch
  ✘ fail: error-rate: 9.8 % of 102 requests failed, against 0 % of 305
  ✔ pass: latency-p95: 3 ms against 3 ms

✘ because check error-rate failed: 9.8 % of 102 requests failed, against 0 % of 305

✘ rolled back after 6s
"
    );
}

#[test]
fn a_question_cannot_be_overlooked_and_orders_nothing() {
    let (story, said) = told(&samples::asking());
    assert_eq!(
        said.last().unwrap(),
        "16:02:00Z  ? approval needed: switch 4 nodes to hello 2.0.0?\u{fffd}[2J (until 17:02:00Z)"
    );
    let picture = drawn(&story, &frame(1000));
    let question = "\n? YOUR DECISION: switch 4 nodes to hello 2.0.0?\u{fffd}[2J (until 17:02:00Z)\n  \
        hotswap approve 01890a5d-ac96-774b-bcce-b302099a8057\n";
    assert!(picture.contains(question), "{picture}");
    assert!(
        picture.starts_with("hello 2.0.0 → production   ? awaiting approval\n"),
        "{picture}"
    );
}

#[test]
fn a_cut_line_is_said_so() {
    let (story, _) = told(&samples::soaking());
    let cut = Frame {
        link: Link::Reconnecting("no engine answers".to_owned()),
        ..frame(61_000)
    };
    let picture = drawn(&story, &cut);
    assert!(
        picture.contains("! reconnecting, last event 1m ago: no engine answers"),
        "{picture}"
    );
}

#[test]
fn a_large_fleet_fits_the_screen_and_is_counted() {
    let mut bodies = samples::soaking();
    let node = |id: u32| serde_json::json!({"id": format!("n{id:03}"), "health": "passing"});
    let nodes: Vec<_> = (0..500).map(node).collect();
    bodies[1].1 = serde_json::json!({"type": "planned", "data": {"nodes": nodes}});
    bodies.truncate(3);
    let (story, _) = told(&bodies);
    let small = Frame {
        rows: 24,
        ..frame(1000)
    };
    let picture = tree::picture(&story, &small);
    assert!(picture.len() <= 24, "{}", picture.len());
    let rest = picture.last().unwrap();
    assert!(rest.contains('…') && rest.ends_with("more"), "{rest}");
    let whole = tree::picture(
        &story,
        &Frame {
            rows: usize::MAX,
            ..frame(1000)
        },
    );
    assert!(whole.len() > 500);
}

#[test]
fn colours_add_nothing_but_colours() {
    let (story, _) = told(&samples::rolled_back());
    let plain = tree::picture(&story, &frame(7000));
    let coloured = tree::picture(
        &story,
        &Frame {
            colours: true,
            ..frame(7000)
        },
    );
    assert_ne!(plain, coloured);
    let stripped: Vec<_> = coloured
        .iter()
        .map(|line| console::strip_ansi_codes(line).into_owned())
        .collect();
    assert_eq!(plain, stripped);
}

#[test]
fn a_timeout_says_what_is_not_ready_and_that_it_goes_on() {
    let (story, _) = told(&samples::soaking());
    let id = story.state.header.id;
    let patience = Patience {
        timeout: Some(Duration::from_secs(60)),
        through_approval: false,
    };
    assert_eq!(
        farewell(Exit::Timeout, id, Some(&story), patience),
        [
            "not ended after 1m; the deployment goes on: running, stage canary 10 %, not updated: \
             prod-2 prod-3 prod-4"
                .to_owned(),
            format!("  next: hotswap watch {id}, or hotswap abort {id}"),
        ]
    );
    let interrupted = farewell(Exit::Interrupted, id, Some(&story), patience);
    assert!(interrupted[0].contains("goes on"), "{interrupted:?}");
    assert!(farewell(Exit::Success, id, Some(&story), patience).is_empty());
}

#[test]
fn a_question_ends_the_watching_only_while_it_is_open() {
    let decided = serde_json::json!({"type": "decided", "data": {"decision":
        {"approved": true, "by": "ada"}}});
    let gated = serde_json::json!({"type": "gated", "data":
        {"prompt": "go on?", "due": samples::at(60_000)}});
    let bodies = [
        (0, samples::requested()),
        (1, gated.clone()),
        (2, decided.clone()),
        (3, samples::planned()),
    ];
    let records = samples::journal(&bodies).into_iter().map(|event| {
        let json = serde_json::to_value(&event).unwrap();
        Recorded { json, event }
    });
    let mut records = records.map(|recorded| vec![recorded]);
    let mut watched = Watched::default();
    let mut take = |watched: &mut Watched| {
        let events = records.next().unwrap();
        watched.take(&events, &View::Nothing).unwrap();
    };
    take(&mut watched);
    assert_eq!(watched.exit(false), None);
    // What was asked long ago may have been answered since.
    take(&mut watched);
    assert_eq!(watched.status(), Some(Status::AwaitingApproval));
    assert_eq!(watched.exit(false), None);
    watched.live = true;
    assert_eq!(watched.exit(false), Some(Exit::AwaitingApproval));
    assert_eq!(watched.exit(true), None, "who stays is not sent away");
    watched.lost("gone", true);
    assert_eq!(
        watched.exit(false),
        None,
        "it may have been answered meanwhile"
    );
    take(&mut watched);
    watched.live = true;
    assert_eq!(watched.exit(false), None);
    take(&mut watched);
    assert_eq!(watched.status(), Some(Status::Running));
}
