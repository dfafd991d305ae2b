//! How values are written for people: the same in the tree, in lines and in tables.

use std::borrow::Borrow;
use std::time::{Duration, SystemTime};

use hotswap_core::{
    CordonedNode, Finding, Header, Judgement, NodeFailure, NodeId, NodePhase, Status, Timestamp,
};

/// The most names on a line; further ones are counted.
const MAX_NAMES: usize = 8;

/// The first second that has no date with four digits for the year.
const YEAR_10000: u64 = 253_402_300_800;

/// `prod-1 prod-2 and 5 more`.
pub fn node_names<'a>(nodes: impl IntoIterator<Item = &'a NodeId>) -> String {
    let nodes: Vec<_> = nodes.into_iter().map(NodeId::as_str).collect();
    names(&nodes, MAX_NAMES)
}

/// The names of nodes, `max` at the most; further ones are counted.
pub fn names(nodes: &[impl Borrow<str>], max: usize) -> String {
    match nodes.len() {
        0 => "no node".to_owned(),
        count if count <= max => nodes.join(" "),
        count => format!(
            "{} and {} more",
            nodes[..max - 1].join(" "),
            count - max + 1
        ),
    }
}

/// `1 node`, `4 nodes`.
pub fn count(number: usize, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

/// `1h 2m`, `3m 4s`, `5s`, `250ms`: at most two units.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (
        seconds / 86_400,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    ) {
        (0, 0, 0, 0) => format!("{}ms", duration.as_millis()),
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, 0) => format!("{m}m"),
        (0, 0, m, s) => format!("{m}m {s}s"),
        (0, h, 0, _) => format!("{h}h"),
        (0, h, m, _) => format!("{h}h {m}m"),
        (d, 0, ..) => format!("{d}d"),
        (d, h, ..) => format!("{d}d {h}h"),
    }
}

/// The time of day in UTC: `16:02:03Z`.
pub fn time_of_day(at: Timestamp) -> String {
    let seconds = at.millis() / 1000 % 86_400;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}Z", seconds % 60)
}

/// A date and time in UTC: `2026-11-27 07:55:42Z`.
pub fn date_time(at: Timestamp) -> String {
    let seconds = at.millis() / 1000;
    if seconds >= YEAR_10000 {
        return "the year 10000".to_owned();
    }
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(at)
        .to_string()
        .replace('T', " ")
}

/// A date and time in UTC as in RFC 3339: `2026-11-27T07:55:42Z`. The last one that has four digits
/// for the year stands for all after it.
pub fn rfc3339(at: SystemTime) -> String {
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(YEAR_10000 - 1);
    humantime::format_rfc3339_seconds(at.clamp(SystemTime::UNIX_EPOCH, last)).to_string()
}

/// A soak that cannot decide, in the form that a plan has.
pub fn soak_warning(warning: &str) -> String {
    format!("~ {}", sanitize(warning))
}

/// A node that was left out of a plan.
pub fn missing(failure: &NodeFailure) -> String {
    let NodeFailure { node, error } = failure;
    format!("! {node} is left out: {error}")
}

/// A node that was left out of a plan because a person had cordoned it.
pub fn cordoned(cordoned: &CordonedNode) -> String {
    let CordonedNode { node, cordon } = cordoned;
    format!("! {node} is left out: {cordon}")
}

/// A node that a successful deployment did not update.
pub fn not_updated(failure: &NodeFailure) -> String {
    let NodeFailure { node, error } = failure;
    format!("! {node} was not updated: {error}")
}

/// A status in words.
pub fn status(status: Status) -> &'static str {
    match status {
        Status::Pending => "pending",
        Status::AwaitingApproval => "awaiting approval",
        Status::Running => "running",
        Status::Paused => "paused",
        Status::RollingBack => "rolling back",
        Status::Succeeded => "succeeded",
        Status::Partial => "succeeded in part",
        Status::RolledBack => "rolled back",
        Status::Failed => "failed",
    }
}

/// The sign of a status. Always print the word with it.
pub fn status_sign(status: Status) -> char {
    match status {
        Status::Pending => '○',
        Status::AwaitingApproval => '?',
        Status::Running => '▶',
        Status::Paused => '‖',
        Status::RollingBack => '↩',
        Status::Succeeded | Status::Partial => '✔',
        Status::RolledBack | Status::Failed => '✘',
    }
}

/// The phase of a node in words.
pub fn phase(phase: NodePhase) -> String {
    match phase {
        NodePhase::Pending => "pending".to_owned(),
        NodePhase::Staged => "staged".to_owned(),
        NodePhase::Shifted { percent } => format!("{percent} % of requests"),
        NodePhase::Active => "active".to_owned(),
        NodePhase::Reverted => "reverted".to_owned(),
        NodePhase::Failed => "failed".to_owned(),
    }
}

/// The sign of a node's phase.
pub fn phase_sign(phase: NodePhase) -> char {
    match phase {
        NodePhase::Pending => '○',
        NodePhase::Staged | NodePhase::Shifted { .. } => '◐',
        NodePhase::Active => '●',
        NodePhase::Reverted => '↩',
        NodePhase::Failed => '✘',
    }
}

/// How a deployment is related to earlier ones, a line for each.
pub fn relations(header: &Header) -> Vec<String> {
    let relations = [
        (header.rollback_of, "rolls back deployment", ""),
        (header.undo_to, "goes back to deployment", ""),
        (header.retry_of, "tries deployment", " again"),
        (
            header.supersedes,
            "supersedes deployment",
            ", and begins when that has ended",
        ),
    ];
    let lines = relations
        .into_iter()
        .filter_map(|(id, what, more)| Some(format!("{what} {}{more}", id?)));
    lines.collect()
}

/// `✔ pass: error-rate: …`.
pub fn finding(finding: &Finding) -> String {
    let (sign, word) = match finding.judgement {
        Judgement::Pass => ('✔', "pass"),
        Judgement::Fail => ('✘', "fail"),
        Judgement::Inconclusive => ('~', "inconclusive"),
    };
    format!(
        "{sign} {word}: {}: {}",
        finding.check.metric, finding.reason
    )
}

/// The text on one line, without control characters: strategies and people choose these
/// texts, and a terminal must not obey them.
pub fn sanitize(text: &str) -> String {
    let replace = |letter: char| match letter {
        '\n' | '\t' => ' ',
        letter if letter.is_control() => '\u{fffd}',
        letter => letter,
    };
    text.trim_end().chars().map(replace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_that_have_no_text_are_the_nearest_that_have_one() {
        let at = |seconds| rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(1_795_766_142), "2026-11-27T07:55:42Z");
        assert_eq!(at(YEAR_10000 - 1), "9999-12-31T23:59:59Z");
        assert_eq!(at(YEAR_10000), "9999-12-31T23:59:59Z");
        let early = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(rfc3339(early), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn durations_have_at_most_two_units() {
        for (millis, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1000, "1s"),
            (60_000, "1m"),
            (61_500, "1m 1s"),
            (3_600_000, "1h"),
            (5_400_000, "1h 30m"),
            (90_000_000, "1d 1h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn times_that_are_not_today_have_a_date() {
        for (millis, text) in [
            (0, "1970-01-01 00:00:00Z"),
            (1_795_766_142_999, "2026-11-27 07:55:42Z"),
            (u64::MAX, "the year 10000"),
        ] {
            assert_eq!(date_time(Timestamp::from_millis(millis)), text);
        }
    }

    #[test]
    fn many_names_are_counted() {
        let nodes: Vec<NodeId> = (1..=12).map(|n| format!("n{n}").parse().unwrap()).collect();
        assert_eq!(node_names(&nodes[..2]), "n1 n2");
        assert_eq!(node_names(&nodes), "n1 n2 n3 n4 n5 n6 n7 and 5 more");
        assert_eq!(node_names(&[]), "no node");
    }

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(sanitize("a\x1b[2Jb\nc\r\n"), "a\u{fffd}[2Jb c");
    }
}
