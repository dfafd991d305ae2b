//! Reads the text format of OpenMetrics, as far as this program writes it.

/// A label of a sample, and its value.
pub(super) type Label = (String, String);

/// A metric with all its series.
#[derive(Debug, PartialEq)]
pub(super) struct Family {
    /// Its name, without what a kind of sample adds to it.
    pub(super) name: String,
    pub(super) kind: Kind,
    /// What it says.
    pub(super) help: String,
    pub(super) samples: Vec<Sample>,
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One line.
#[derive(Debug, PartialEq)]
pub(super) struct Sample {
    /// What stands behind the name of the family: `_total`, `_bucket`, `_sum`, `_count` or nothing.
    pub(super) suffix: String,
    pub(super) labels: Vec<Label>,
    /// As it is written: whether it is a whole number is visible.
    pub(super) value: String,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        match name {
            "counter" => Some(Self::Counter),
            "gauge" => Some(Self::Gauge),
            "histogram" => Some(Self::Histogram),
            _ => None,
        }
    }

    /// Whether a sample of such a metric can have this behind the name. Others belong to another
    /// metric, whose name is longer.
    fn has(self, suffix: &str) -> bool {
        match self {
            Self::Counter => suffix == "_total",
            Self::Gauge => suffix.is_empty(),
            Self::Histogram => matches!(suffix, "_bucket" | "_sum" | "_count"),
        }
    }
}

/// All families of a text. Lines that this program does not write are left out.
pub(super) fn parse(text: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    let mut help = (String::new(), String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
            help = (name.to_owned(), unescape(text));
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let (named, text) = std::mem::take(&mut help);
            if let Some(kind) = Kind::of(kind) {
                families.push(Family {
                    name: name.to_owned(),
                    kind,
                    help: if named == name { text } else { String::new() },
                    samples: Vec::new(),
                });
            }
        } else if let Some(family) = families.last_mut()
            && let Some(sample) = parse_sample(line, family)
        {
            family.samples.push(sample);
        }
    }
    families
}

fn parse_sample(line: &str, family: &Family) -> Option<Sample> {
    let rest = line.strip_prefix(&family.name)?;
    let end = rest.find(['{', ' '])?;
    let (suffix, rest) = rest.split_at(end);
    if !family.kind.has(suffix) {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => parse_labels(rest)?,
        None => (Vec::new(), rest),
    };
    // What follows the value is a time or an exemplar.
    let value = rest.split_whitespace().next()?;
    Some(Sample {
        suffix: suffix.to_owned(),
        labels,
        value: value.to_owned(),
    })
}

/// The labels, and what follows the brace behind them.
fn parse_labels(mut rest: &str) -> Option<(Vec<Label>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let mut is_escaped = false;
        let end = quoted.find(|character| {
            let ends = character == '"' && !is_escaped;
            is_escaped = character == '\\' && !is_escaped;
            ends
        })?;
        labels.push((name.to_owned(), unescape(quoted.get(..end)?)));
        rest = quoted.get(end + 1..)?;
    }
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match (character, characters.clone().next()) {
            ('\\', Some(escaped)) => {
                characters.next();
                if escaped == 'n' { '\n' } else { escaped }
            }
            (plain, _) => plain,
        });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_read_with_their_samples() {
        let text = "# HELP a_b What it is.\n# TYPE a_b counter\n# UNIT a_b seconds\n\
                    a_b_total{x=\"1\",y=\"a \\\"b\\\", {c}\\\\\"} 5\na_b_total 1.5\n\
                    # TYPE g gauge\ng -1\n# TYPE g_i info\ng_i_info{a=\"x\"} 1\n# EOF\n";
        let families = parse(text);
        let [counter, gauge] = families.as_slice() else {
            panic!("{families:?}");
        };
        assert_eq!(
            (counter.name.as_str(), counter.kind),
            ("a_b", Kind::Counter)
        );
        assert_eq!(counter.help, "What it is.");
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            counter.samples[0].labels,
            [label("x", "1"), label("y", "a \"b\", {c}\\")]
        );
        assert_eq!(counter.samples[0].suffix, "_total");
        assert_eq!(counter.samples[1].value, "1.5");
        assert_eq!((gauge.kind, gauge.help.as_str()), (Kind::Gauge, ""));
        let [sample] = gauge.samples.as_slice() else {
            panic!("{gauge:?}");
        };
        assert_eq!(sample.value, "-1");
    }
}
