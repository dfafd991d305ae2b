use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::{ReceivedMetric, ReceivedMetrics};

/// A sample's name, and its labels.
pub type Series = (String, BTreeMap<String, String>);

/// Gauges that change by themselves, while nobody asks for anything.
const RESTLESS: [&str; 5] = [
    "hotswap_disk_bytes",
    "hotswap_reconciler_lag_seconds",
    "hotswap_discovery_source_age_seconds",
    "hotswap_node_memory_bytes",
    "hotswap_node_instance_memory_bytes",
];

/// What `/metrics` shows at one moment.
#[derive(Debug, Default)]
pub struct Exposed {
    /// The type of each metric, by the name without what samples add to it.
    kinds: BTreeMap<String, String>,
    helps: BTreeMap<String, String>,
    samples: BTreeMap<Series, f64>,
}

impl Exposed {
    /// Reads `{url}/metrics`.
    ///
    /// # Errors
    /// If it cannot be reached, or is no text of OpenMetrics.
    pub async fn read(url: &str) -> Result<Self> {
        let text = reqwest::get(format!("{url}/metrics")).await?.text().await?;
        ensure!(text.ends_with("# EOF\n"), "{text}");
        let mut exposed = Self::default();
        for line in text.lines() {
            let of_metric = |kind: &str| {
                let rest = line.strip_prefix(kind)?;
                let (name, rest) = rest.split_once(' ')?;
                Some((name.to_owned(), rest.to_owned()))
            };
            if let Some((name, kind)) = of_metric("# TYPE ") {
                exposed.kinds.insert(name, kind);
            } else if let Some((name, help)) = of_metric("# HELP ") {
                exposed.helps.insert(name, help);
            } else if !line.starts_with('#') {
                let (series, value) = sample(line).with_context(|| line.to_owned())?;
                exposed.samples.insert(series, value);
            }
        }
        Ok(exposed)
    }

    /// The value of a series.
    ///
    /// # Errors
    /// If it is not shown.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let value = self.samples.get(&series(name, labels));
        value.copied().with_context(|| format!("no {name}"))
    }

    /// The metrics that have a series, by the names of what is sent for them.
    fn sent_names(&self) -> BTreeMap<String, (&str, &str)> {
        let mut names = BTreeMap::new();
        for (family, kind) in &self.kinds {
            let (name, sample) = match kind.as_str() {
                "counter" => (format!("{family}_total"), format!("{family}_total")),
                "histogram" => (family.clone(), format!("{family}_count")),
                _ => (family.clone(), family.clone()),
            };
            if self.samples.keys().any(|(known, _)| *known == sample) {
                let help = self.helps.get(family).map_or("", String::as_str);
                names.insert(name, (kind.as_str(), help));
            }
        }
        names
    }
}

/// A series by its name and its labels.
pub fn series(name: &str, labels: &[(&str, &str)]) -> Series {
    let label = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    (name.to_owned(), labels.iter().map(label).collect())
}

/// The samples that `/metrics` shows for what was sent.
pub fn sent(received: &ReceivedMetrics) -> BTreeMap<Series, f64> {
    let mut samples = BTreeMap::new();
    for (name, metric) in &received.metrics {
        for point in &metric.points {
            let mut add = |suffix: &str, bound: Option<f64>, value: f64| {
                let mut labels = point.attributes.clone();
                labels.extend(bound.map(|bound| ("le".to_owned(), bound.to_string())));
                samples.insert((format!("{name}{suffix}"), labels), value);
            };
            if metric.kind == "histogram" {
                add("_sum", None, point.value);
                add("_count", None, point.count as f64);
                for (bound, count) in &point.buckets {
                    add("_bucket", Some(*bound), *count as f64);
                }
            } else {
                add("", None, point.value);
            }
        }
    }
    samples
}

/// Checks that what was sent between two moments is what `/metrics` shows, with names, types,
/// units and help. Counters and histograms rise only; gauges that are the same before and after
/// were the same between.
///
/// # Errors
/// Names what differs.
pub fn check_same(before: &Exposed, received: &ReceivedMetrics, after: &Exposed) -> Result<()> {
    let (first, last) = (before.sent_names(), after.sent_names());
    for (name, (kind, help)) in &first {
        let metric = received.metrics.get(name);
        let metric = metric.with_context(|| format!("{name} is not sent"))?;
        check_form(name, metric, (kind, help))?;
    }
    let unknown: Vec<_> = received
        .metrics
        .keys()
        .filter(|name| !last.contains_key(*name))
        .collect();
    ensure!(unknown.is_empty(), "nobody shows {unknown:?}");
    let sent = sent(received);
    let mut compared = BTreeSet::new();
    for (series, value) in &sent {
        let shown = after.samples.get(series);
        let shown = *shown.with_context(|| format!("nobody shows {series:?}"))?;
        let Some(earlier) = before.samples.get(series) else {
            continue;
        };
        let kind = received.metrics.get(&series.0);
        let kind = kind.map_or("histogram", |metric| metric.kind.as_str());
        if kind == "gauge" {
            let rests = shown == *earlier && !RESTLESS.contains(&series.0.as_str());
            ensure!(
                !rests || *value == shown,
                "{series:?}: {value}, not {shown}"
            );
        } else {
            ensure!(
                (*earlier..=shown).contains(value),
                "{series:?}: {earlier}, {value}, {shown}"
            );
        }
        compared.insert(kind.to_owned());
    }
    let not_sent = before
        .samples
        .keys()
        .find(|series| !sent.contains_key(*series));
    ensure!(not_sent.is_none(), "not sent: {not_sent:?}");
    ensure!(compared.len() == 3, "only {compared:?}");
    Ok(())
}

fn check_form(name: &str, metric: &ReceivedMetric, (kind, help): (&str, &str)) -> Result<()> {
    let stem = name.strip_suffix("_total").unwrap_or(name);
    let unit = match stem.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        _ => "",
    };
    ensure!(metric.kind == kind, "{name}: {}, not {kind}", metric.kind);
    ensure!(
        metric.unit == unit,
        "{name}: '{}', not '{unit}'",
        metric.unit
    );
    ensure!(
        metric.description == help,
        "{name}: {}, not {help}",
        metric.description
    );
    for point in &metric.points {
        ensure!(
            0 < point.start && point.start < point.time,
            "{name}: {point:?}"
        );
    }
    Ok(())
}

/// The series of a line, and its value.
fn sample(line: &str) -> Option<(Series, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    let mut found = BTreeMap::new();
    for label in labels.split("\",").filter(|label| !label.is_empty()) {
        let (label, value) = label.split_once("=\"")?;
        let value = value.trim_end_matches('"');
        let value = match label {
            // As numbers are written in one way, whatever the text says.
            "le" => value.parse::<f64>().ok()?.to_string(),
            _ => value.to_owned(),
        };
        found.insert(label.to_owned(), value);
    }
    Some(((name.to_owned(), found), value.parse().ok()?))
}
