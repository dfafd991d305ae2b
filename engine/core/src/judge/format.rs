//! Formats figures for people.

/// `2,160`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 request`, `2,160 requests`.
pub(super) fn requests(number: u64) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} request{plural}", count(number))
}

/// A share (0 to 1) as `5 %`, `0.14 %`, with at most three significant digits.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", figure(share * 100.0))
}

/// `12.3 ms`.
pub(super) fn milliseconds(value: f64) -> String {
    format!("{} ms", figure(value))
}

/// `0.35 cores`.
pub(super) fn cores(value: f64) -> String {
    format!("{} cores", figure(value))
}

/// `12.3`, also below 0.
pub(super) fn number(value: f64) -> String {
    if value < 0.0 {
        format!("-{}", figure(-value))
    } else {
        figure(value)
    }
}

/// `12.3 MiB`.
pub(super) fn bytes(value: f64) -> String {
    let mut scaled = value;
    for unit in ["bytes", "KiB", "MiB", "GiB"] {
        if scaled < 1024.0 {
            return format!("{} {unit}", figure(scaled));
        }
        scaled /= 1024.0;
    }
    format!("{} TiB", figure(scaled))
}

/// `1.5 times`.
pub(super) fn times(ratio: f64) -> String {
    format!("{} times", figure(ratio))
}

/// `40 seconds`, `6 minutes`, `3.5 hours`, rounded up: how long something takes at least.
pub(super) fn span(seconds: f64) -> String {
    let (value, unit) = match seconds {
        seconds if seconds < 60.0 => (seconds.ceil().max(1.0), "second"),
        seconds if seconds < 5400.0 => ((seconds / 60.0).ceil(), "minute"),
        seconds if seconds < 129_600.0 => ((seconds / 3600.0).ceil(), "hour"),
        seconds => ((seconds / 86_400.0).ceil(), "day"),
    };
    let plural = if value == 1.0 { "" } else { "s" };
    format!("{} {unit}{plural}", figure(value))
}

/// The first 80 characters of a text: it comes from a strategy and may be long.
pub(super) fn truncated(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Three significant digits without trailing zeros; from 100 on, a whole number.
fn figure(value: f64) -> String {
    if value >= 1e15 {
        return format!("{value:.2e}");
    }
    if value >= 100.0 {
        return count(value.round() as u64);
    }
    let places = match value {
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        value if value >= 0.1 => 3,
        value if value >= 1e-6 => 6,
        _ => {
            return if value > 0.0 {
                format!("{value:.1e}")
            } else {
                "0".to_owned()
            };
        }
    };
    let digits = format!("{value:.places$}");
    digits
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_no_trailing_zeros() {
        for (number, expected) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1234567, "1,234,567"),
        ] {
            assert_eq!(count(number), expected);
        }
        for (share, expected) in [
            (0.0, "0 %"),
            (0.05, "5 %"),
            (0.5, "50 %"),
            (3.0 / 2160.0, "0.139 %"),
            (1.0 / 3.0, "33.3 %"),
            (12.0, "1,200 %"),
        ] {
            assert_eq!(percent(share), expected);
        }
        assert_eq!(bytes(1536.0), "1.5 KiB");
        assert_eq!(bytes(3.0 * 1024.0_f64.powi(3)), "3 GiB");
        assert_eq!(milliseconds(f64::MAX), "1.80e308 ms");
        assert_eq!(requests(1), "1 request");
        for (seconds, expected) in [
            (0.2, "1 second"),
            (59.0, "59 seconds"),
            (61.0, "2 minutes"),
            (7200.0, "2 hours"),
            (1e6, "12 days"),
        ] {
            assert_eq!(span(seconds), expected);
        }
        assert_eq!(times(1.5), "1.5 times");
    }
}
