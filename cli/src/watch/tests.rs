use hotswap_core::Status;

use super::tree::{Connection, Frame};
use super::*;
use crate::client::{RecordedEvent, SoakReport};

/// The state after these events, and the lines that describe them.
fn play(bodies: &[(u64, serde_json::Value)]) -> (WatchState, Vec<String>) {
    let mut state: Option<WatchState> = None;
    let mut described = Vec::new();
    for event in sample_journals::journal(bodies) {
        described.extend(lines::describe(state.as_ref(), &event));
        match &mut state {
            None => state = Some(WatchState::begin(&event).unwrap()),
            Some(state) => state.apply(&event).unwrap(),
        }
    }
    (state.unwrap(), described)
}

fn frame(millis: u64) -> Frame {
    Frame {
        now: sample_journals::at(millis),
        connection: Connection::Live,
        colours: false,
        rows: 40,
        columns: 100,
    }
}

fn draw(state: &WatchState, frame: &Frame) -> String {
    tree::render(state, frame)
        .iter()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

#[test]
fn lines_describe_a_rollback_with_its_reason() {
    let (_, lines) = play(&sample_journals::rolled_back());
    assert_eq!(
        lines.join("\n"),
        "\
16:02:00Z  hello 2.0.0 → production by canary, requested by ada@example.org
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
fn lines_and_tree_name_the_nodes_that_a_success_left_behind() {
    let failure = |node: &str, kind: &str, reason: &str| serde_json::json!({"node": node, "error": {"kind": kind, "reason": reason}});
    let mut planned = sample_journals::planned();
    planned["data"]["missing"] = serde_json::json!([failure("prod-5", "unreachable", "no answer")]);
    let bodies = [
        (0, sample_journals::requested()),
        (0, planned),
        (1000, serde_json::json!({"type": "settling"})),
        (
            2000,
            serde_json::json!({"type": "ended", "data": {"outcome": "succeeded",
            "notUpdated": [failure("prod-4", "other", "it runs 1.0.0")]}}),
        ),
    ];
    let (state, lines) = play(&bodies);
    assert_eq!(state.deployment.status(), Status::Partial);
    assert_eq!(
        lines[2..].join("\n"),
        "\
16:02:00Z  planned 4 nodes: prod-1 prod-2 prod-3 prod-4
16:02:00Z  ! prod-5 is left out: unreachable: no answer
16:02:01Z  removing the previous version
16:02:02Z  ✔ succeeded in part after 2s; not updated: prod-4; left out: prod-5
16:02:02Z  ! prod-4 was not updated: it runs 1.0.0"
    );
    let tree = draw(&state, &frame(3000));
    for line in [
        "! prod-5 is left out: unreachable: no answer",
        "! prod-4 was not updated: it runs 1.0.0",
        "✔ succeeded in part after 2s",
    ] {
        assert!(tree.contains(line), "{line}:\n{tree}");
    }
}

#[test]
fn lines_and_tree_name_the_node_that_failed() {
    let mut bodies = sample_journals::soaking();
    bodies.truncate(3);
    bodies.push((
        30,
        sample_journals::called(
            1,
            serde_json::json!(
        {"call": "stage", "arguments": {"nodes": ["prod-1", "prod-2"]}}),
        ),
    ));
    bodies.push((
        90,
        sample_journals::answered(
            1,
            serde_json::json!({"answer": "nodewise", "value":
        [{"node": "prod-2", "error": {"kind": "unreachable", "reason": "no answer in 5s"}}]}),
        ),
    ));
    let (state, lines) = play(&bodies);
    assert_eq!(
        lines[lines.len() - 2..],
        [
            "16:02:00Z  ✔ staged: prod-1",
            "16:02:00Z  ✘ prod-2: unreachable: no answer in 5s"
        ]
    );
    let picture = draw(&state, &frame(100));
    assert!(picture.contains("✘ prod-2  failed"), "{picture}");
    assert!(
        picture.contains("unreachable: no answer in 5s"),
        "{picture}"
    );
    let narrow = Frame {
        columns: 64,
        ..frame(100)
    };
    let picture = draw(&state, &narrow);
    let expected = "\
│  └─ ✘ prod-2  failed              1.0.0  a  unreachable: no
│                                   answer in 5s
";
    assert!(picture.contains(expected), "{picture}");
}

#[test]
fn the_tree_shows_stages_and_the_current_wait() {
    let (state, _) = play(&sample_journals::soaking());
    assert_eq!(
        draw(&state, &frame(4000)),
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
    let (state, _) = play(&sample_journals::rolled_back());
    assert_eq!(
        draw(&state, &frame(7000)),
        "\
hello 2.0.0 → production   ✘ rolled back
strategy canary 0.1.0 · stage 1: canary 10 %
[░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░]   0 %
01890a5d-ac96-774b-bcce-b302099a8057

├─ ✘ canary 10 %  5s
│  └─ ↩ prod-1  reverted            1.0.0  a
└─ ○ not changed
   ├─ ○ prod-2  pending             1.0.0  a
   ├─ ○ prod-3  pending             1.0.0  a
   └─ ○ prod-4  pending             1.0.0  a

checks of the last soak
  ✘ fail: error-rate: 9.8 % of 102 requests failed, against 0 % of 305
  ✔ pass: latency-p95: 3 ms against 3 ms

✘ because check error-rate failed: 9.8 % of 102 requests failed, against 0 % of 305

✘ rolled back after 6s
"
    );
}

#[test]
fn a_narrow_tree_wraps_between_words() {
    let (state, _) = play(&sample_journals::rolled_back());
    let narrow = Frame {
        columns: 44,
        ..frame(7000)
    };
    assert_eq!(
        draw(&state, &narrow),
        "\
hello 2.0.0 → production   ✘ rolled back
strategy canary 0.1.0 · stage 1: canary 10 %
[░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░]   0 %
01890a5d-ac96-774b-bcce-b302099a8057

├─ ✘ canary 10 %  5s
│  └─ ↩ prod-1  reverted
│         1.0.0  a
└─ ○ not changed
   ├─ ○ prod-2  pending
   │      1.0.0  a
   ├─ ○ prod-3  pending
   │      1.0.0  a
   └─ ○ prod-4  pending
          1.0.0  a

checks of the last soak
  ✘ fail: error-rate: 9.8 % of 102 requests
    failed, against 0 % of 305
  ✔ pass: latency-p95: 3 ms against 3 ms

✘ because check error-rate failed: 9.8 % of
  102 requests failed, against 0 % of 305

✘ rolled back after 6s
"
    );
}

/// What the engine tells of a soak that is under way.
fn findings(of: &[(&str, &str, &str)]) -> Vec<hotswap_core::Finding> {
    let finding = |(metric, judgement, reason): &(&str, &str, &str)| {
        let mut finding = sample_journals::finding(metric, judgement, reason);
        finding["check"]["maxIncrease"] = 0.5.into();
        finding["conditions"] = serde_json::json!([{ "kind": "increase", "limit": 1.5,
            "estimate": 1.2, "low": 0.7, "high": 2.9,
            "evidence": 0.2, "earlier": -0.7, "threshold": 4.6 }]);
        serde_json::from_value(finding).unwrap()
    };
    of.iter().map(finding).collect()
}

#[test]
fn the_tree_shows_what_the_checks_came_to_so_far() {
    let (mut state, _) = play(&sample_journals::soaking());
    state.live_findings = findings(&[
        ("error-rate", "inconclusive", "too few failed to tell"),
        ("latency-p95", "pass", "3 ms against 3 ms"),
    ]);
    let picture = draw(&state, &frame(4000));
    let (_, shown) = picture.split_once("\nchecks so far\n").unwrap();
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(
        lines[0],
        "  ~ inconclusive: error-rate: too few failed to tell"
    );
    assert!(
        lines[1].contains('●') && lines[1].ends_with("limit 1.5"),
        "{}",
        lines[1]
    );
    assert_eq!(lines[2], "  ✔ pass: latency-p95: 3 ms against 3 ms");
    // The verdict takes their place.
    let verdict = serde_json::json!({"answer": "verdict", "value": {"judgement": "pass",
        "findings": [sample_journals::finding("error-rate", "pass", "none failed")]}});
    let mut bodies = sample_journals::soaking();
    bodies.push((6000, sample_journals::answered(3, verdict)));
    let answered = sample_journals::journal(&bodies).pop().unwrap();
    state.apply(&answered).unwrap();
    let picture = draw(&state, &frame(7000));
    assert!(!picture.contains("checks so far"), "{picture}");
    assert!(
        picture.contains("checks of the last soak\n  ✔ pass: error-rate: none failed"),
        "{picture}"
    );
}

fn progress(judgement: &str, reason: &str) -> SoakReport {
    SoakReport {
        findings: findings(&[("error-rate", judgement, reason)]),
        warnings: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn lines_tell_of_a_soak_when_a_judgement_changes_and_once_a_minute() {
    let mut session = Session::default();
    assert!(session.set_soak(progress("pass", "early")).is_empty());
    for event in sample_journals::journal(&sample_journals::soaking()) {
        let json = serde_json::to_value(&event).unwrap();
        let recorded = RecordedEvent { json, event };
        session.apply(&[recorded], |_, _| Ok(())).unwrap();
    }
    let mut told = Vec::new();
    for second in 0..=70 {
        let judgement = if second < 5 { "inconclusive" } else { "pass" };
        let reason = format!("after {second}s");
        let mut soak = progress(judgement, &reason);
        if second >= 3 {
            // It is found out a few seconds after the start.
            soak.warnings = vec!["the soak of 10m cannot decide".to_owned()];
        }
        for line in session.set_soak(soak) {
            let (_, text) = line.split_once("  ").unwrap();
            told.push(text.to_owned());
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(
        told,
        [
            "so far ~ inconclusive: error-rate: after 0s",
            "~ the soak of 10m cannot decide",
            "so far ✔ pass: error-rate: after 5s",
            "so far ✔ pass: error-rate: after 65s",
        ]
    );
}

#[test]
fn the_tree_names_soaks_that_cannot_decide_until_the_deployment_ends() {
    let warned = |bodies: Vec<(u64, serde_json::Value)>| {
        let (mut state, _) = play(&bodies);
        state.warnings = vec!["the soak of 10m cannot decide".to_owned()];
        let picture = draw(&state, &frame(4000));
        picture.contains("\n~ the soak of 10m cannot decide")
    };
    assert!(warned(sample_journals::soaking()));
    assert!(!warned(sample_journals::rolled_back()));
}

#[test]
fn no_line_of_the_tree_is_wider_than_the_terminal() {
    for bodies in [
        sample_journals::soaking(),
        sample_journals::rolled_back(),
        sample_journals::awaiting_approval(),
    ] {
        let (state, _) = play(&bodies);
        // A command to copy holds an id of 36 columns, and stays on one line.
        for columns in 54..120 {
            let frame = Frame {
                columns,
                ..frame(7000)
            };
            for line in tree::render(&state, &frame) {
                assert!(console::measure_text_width(&line) <= columns, "{line}");
            }
        }
    }
}

#[test]
fn a_question_is_prominent_and_cannot_control_the_terminal() {
    let (state, lines) = play(&sample_journals::awaiting_approval());
    assert_eq!(
        lines.last().unwrap(),
        "16:02:00Z  ? approval needed: switch 4 nodes to hello 2.0.0?\u{fffd}[2J (until 2026-11-23 17:02:00Z)"
    );
    let picture = draw(&state, &frame(1000));
    let question = "\n? YOUR DECISION: switch 4 nodes to hello 2.0.0?\u{fffd}[2J (until 2026-11-23 17:02:00Z)\n  \
        hotswap approve 01890a5d-ac96-774b-bcce-b302099a8057 --wait-id call-2\n";
    assert!(picture.contains(question), "{picture}");
    // A command that does not fit is shown without the option.
    let narrow = Frame {
        columns: 60,
        ..frame(1000)
    };
    let narrow = draw(&state, &narrow);
    assert!(narrow.contains("b302099a8057\n"), "{narrow}");
    assert!(
        picture.starts_with("hello 2.0.0 → production   ? awaiting approval\n"),
        "{picture}"
    );
}

#[test]
fn a_failed_connection_is_shown_with_its_reason() {
    let (state, _) = play(&sample_journals::soaking());
    let disconnected = Frame {
        connection: Connection::Reconnecting("no engine answers".to_owned()),
        ..frame(61_000)
    };
    let picture = draw(&state, &disconnected);
    assert!(
        picture.contains("! reconnecting, last event 1m ago: no engine answers"),
        "{picture}"
    );
}

#[test]
fn a_large_fleet_fits_the_screen_and_is_counted() {
    let mut bodies = sample_journals::soaking();
    let node = |id: u32| serde_json::json!({"id": format!("n{id:03}"), "health": "passing"});
    let nodes: Vec<_> = (0..500).map(node).collect();
    bodies[1].1 = serde_json::json!({"type": "planned", "data": {"nodes": nodes}});
    bodies.truncate(3);
    let (state, _) = play(&bodies);
    let small = Frame {
        rows: 24,
        ..frame(1000)
    };
    let picture = tree::render(&state, &small);
    assert!(picture.len() <= 24, "{}", picture.len());
    let rest = picture.last().unwrap();
    assert!(rest.contains('…') && rest.ends_with("more"), "{rest}");
    let whole = tree::render(
        &state,
        &Frame {
            rows: usize::MAX,
            ..frame(1000)
        },
    );
    assert!(whole.len() > 500);
}

#[test]
fn colours_add_nothing_but_colours() {
    let (state, _) = play(&sample_journals::rolled_back());
    let plain = tree::render(&state, &frame(7000));
    let coloured = tree::render(
        &state,
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
fn a_session_knows_since_when_the_deployment_is_paused() {
    let paused = serde_json::json!({"type": "paused", "data": {"by": "ada"}});
    let resumed = serde_json::json!({"type": "resumed", "data": {"by": "ada"}});
    let bodies = [
        (0, sample_journals::requested()),
        (1, paused.clone()),
        (2, resumed),
        (3, paused),
    ];
    let mut session = Session::default();
    let mut since = Vec::new();
    for event in sample_journals::journal(&bodies) {
        let json = serde_json::to_value(&event).unwrap();
        let recorded = RecordedEvent { json, event };
        session.apply(&[recorded], |_, _| Ok(())).unwrap();
        since.push(session.paused_since);
    }
    assert!(since[0].is_none() && since[1].is_some() && since[2].is_none());
    assert!(since[3] >= since[1]);
}

#[test]
fn a_question_ends_watching_only_while_it_is_open() {
    let decided = serde_json::json!({"type": "decided", "data": {"decision":
        {"approved": true, "by": "ada"}}});
    let gated = serde_json::json!({"type": "gated", "data":
        {"prompt": "go on?", "due": sample_journals::at(60_000)}});
    let bodies = [
        (0, sample_journals::requested()),
        (1, gated),
        (2, decided),
        (3, sample_journals::planned()),
    ];
    let mut events = sample_journals::journal(&bodies).into_iter().map(|event| {
        let json = serde_json::to_value(&event).unwrap();
        vec![RecordedEvent { json, event }]
    });
    let mut session = Session::default();
    let mut apply_next = |session: &mut Session| {
        let events = events.next().unwrap();
        session.apply(&events, |_, _| Ok(())).unwrap();
    };
    apply_next(&mut session);
    assert_eq!(session.exit(false), None);
    // A question of the past may be answered by a later event.
    apply_next(&mut session);
    assert_eq!(session.status(), Some(Status::AwaitingApproval));
    assert_eq!(session.exit(false), None);
    session.live = true;
    assert_eq!(session.exit(false), Some(Exit::AwaitingApproval));
    assert_eq!(
        session.exit(true),
        None,
        "the watcher waits for the decision"
    );
    session.set_disconnected("gone", true);
    assert_eq!(session.exit(false), None, "the answer may have been missed");
    apply_next(&mut session);
    session.live = true;
    assert_eq!(session.exit(false), None);
    apply_next(&mut session);
    assert_eq!(session.status(), Some(Status::Running));
}
