use hotswap_core::{Answer, Event, EventBody, Verdict};

/// A journal without what differs from run to run though nothing else does: times, counters
/// and the figures that were judged. Two runs that did the same have the same outline.
pub fn outline(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| line(&event.body)).collect()
}

fn line(body: &EventBody) -> String {
    match body {
        EventBody::Requested(header) => {
            format!("requested {} by {}", header.module, header.strategy.name)
        }
        EventBody::Gated { prompt, .. } => format!("gated: {prompt}"),
        EventBody::Planned { nodes } => {
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
            let answer = answer.as_ref().map(|answer| format!(" = {}", told(answer)));
            format!(
                "called {call}: {request:?}{waits}{}",
                answer.unwrap_or_default()
            )
        }
        EventBody::Answered { call, answer } => format!("answered {call}: {}", told(answer)),
        EventBody::Ended { outcome, failures } => format!("ended {outcome:?} {failures:?}"),
        other => format!("{other:?}"),
    }
}

fn told(answer: &Answer) -> String {
    match answer {
        Answer::Time(_) => "a time".to_owned(),
        Answer::Verdict(Verdict {
            judgement,
            findings,
        }) => {
            let found = findings
                .iter()
                .map(|finding| (&finding.check.metric, finding.judgement));
            format!("{judgement:?} {:?}", found.collect::<Vec<_>>())
        }
        other => format!("{other:?}"),
    }
}
