use hotswap_core::{Answer, Event, EventBody, Judgement, Verdict};

/// The check on restarts needs one reading, and whether a soak of a moment has one is up to the
/// machine.
const RESTARTS: &str = "restarts";

/// A journal, one line an event, without times, counters and judged figures, which differ
/// from run to run. Two runs that did the same have the same outline.
pub fn journal_outline(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .map(|event| event_outline(&event.body))
        .collect()
}

fn event_outline(body: &EventBody) -> String {
    match body {
        EventBody::Requested(header) => {
            format!("requested {} by {}", header.module, header.strategy.name)
        }
        EventBody::Gated { prompt, .. } => format!("gated: {prompt}"),
        EventBody::Planned { nodes, .. } => {
            let nodes: Vec<_> = nodes.iter().map(|node| (&node.id, &node.active)).collect();
            format!("planned {nodes:?}")
        }
        EventBody::Called {
            call,
            request,
            due,
            answer,
            ..
        } => {
            let waits = if due.is_some() { ", waits" } else { "" };
            let answer = answer.as_ref();
            let answer = answer.map(|answer| format!(" = {}", answer_outline(answer)));
            // What a strategy notes of such a soak.
            let request = format!("{request:?}").replace(&format!(", {RESTARTS}"), "");
            format!(
                "called {call}: {request}{waits}{}",
                answer.unwrap_or_default()
            )
        }
        EventBody::Answered { call, answer } => {
            format!("answered {call}: {}", answer_outline(answer))
        }
        EventBody::Ended {
            outcome, failures, ..
        } => format!("ended {outcome:?} {failures:?}"),
        other => format!("{other:?}"),
    }
}

fn answer_outline(answer: &Answer) -> String {
    match answer {
        Answer::Time(_) => "a time".to_owned(),
        Answer::Verdict(Verdict {
            judgement,
            findings,
            ..
        }) => {
            let findings = findings.iter().filter(|finding| {
                finding.check.metric != RESTARTS || finding.judgement == Judgement::Fail
            });
            let findings = findings.map(|finding| (&finding.check.metric, finding.judgement));
            format!("{judgement:?} {:?}", findings.collect::<Vec<_>>())
        }
        other => format!("{other:?}"),
    }
}
