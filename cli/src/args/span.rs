//! Spans of time on the command line. Each is checked against its range when it is parsed, so
//! that no later sum can overflow.

use std::time::Duration;

use super::quote::shorten;

/// What `humantime` calls a year.
const YEAR: Duration = Duration::from_secs(31_557_600);

/// How long a command may wait or run: more than a rollout takes, and far from any overflow.
pub fn parse_wait(text: &str) -> Result<Duration, String> {
    let shortest = Duration::from_millis(1);
    parse(text, shortest, YEAR, "1ms to 1year")
}

/// How long a server may go on serving after the signal to stop: at most an hour, more than any
/// supervisor waits.
pub fn parse_lame_duck(text: &str) -> Result<Duration, String> {
    parse(text, Duration::ZERO, Duration::from_secs(3600), "0s to 1h")
}

/// How long what is under way may go on once a server has closed its ports.
pub fn parse_drain(text: &str) -> Result<Duration, String> {
    let shortest = Duration::from_secs(1);
    parse(text, shortest, Duration::from_secs(3600), "1s to 1h")
}

/// How long a token may be valid.
pub fn parse_validity(text: &str) -> Result<Duration, String> {
    let shortest = Duration::from_secs(1);
    parse(
        text,
        shortest,
        YEAR * 10,
        "1s to 10years; a token of 0s would expire at once",
    )
}

fn parse(
    text: &str,
    shortest: Duration,
    longest: Duration,
    range: &str,
) -> Result<Duration, String> {
    let example = "such as 90s, 10m or 1h30m";
    let span = humantime::parse_duration(text)
        .map_err(|error| shorten(&error.to_string()))
        .map_err(|error| format!("write a time {example}, from {range}: {error}"))?;
    if (shortest..=longest).contains(&span) {
        Ok(span)
    } else {
        Err(format!("write a time {example}, from {range}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_within_their_range_are_accepted() {
        for text in ["1ms", "90s", "1h30m", "1year"] {
            assert!(parse_wait(text).is_ok(), "{text}");
        }
        assert_eq!(parse_validity("10years"), Ok(YEAR * 10));
        assert_eq!(parse_lame_duck("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn spans_outside_their_range_are_refused_with_the_range() {
        let digits = "9".repeat(60_000);
        let very_long = format!("{digits}s");
        for text in [
            "",
            "0s",
            "-1s",
            "soon",
            "ü",
            "1year 1ms",
            "500000000000y",
            "18446744073709551615s",
            "18446744073709551616s",
            &digits,
            &very_long,
        ] {
            let error = parse_wait(text).unwrap_err();
            assert!(error.contains("1ms to 1year"), "{error}");
            assert!(error.len() < 300, "{}", error.len());
        }
        assert!(parse_lame_duck("1h 1s").unwrap_err().contains("0s to 1h"));
        assert!(parse_drain("0s").unwrap_err().contains("1s to 1h"));
        for text in ["999ms", "10years 1s", "500000000000y"] {
            assert!(
                parse_validity(text).unwrap_err().contains("10years"),
                "{text}"
            );
        }
    }
}
