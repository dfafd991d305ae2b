use std::collections::BTreeSet;

use super::VARIABLES;

/// Variables that have no effect here, with the values that ask for what is done anyway.
const NO_EFFECT: [(&str, &[&str]); 8] = [
    // The URL of a collector says it, as it does by the specification.
    ("OTEL_EXPORTER_OTLP_INSECURE", &["true", "false"]),
    ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", &["true", "false"]),
    ("OTEL_EXPORTER_OTLP_METRICS_INSECURE", &["true", "false"]),
    (
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        &["cumulative"],
    ),
    (
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        &["explicit_bucket_histogram"],
    ),
    ("OTEL_LOGS_EXPORTER", &["none"]),
    ("OTEL_METRICS_EXEMPLAR_FILTER", &["always_off"]),
    ("OTEL_PROPAGATORS", &["tracecontext"]),
];

/// The names of those variables of OpenTelemetry that are set, and that this program does not
/// follow. An empty one counts as not set.
pub(in crate::telemetry) fn unsupported(
    variables: impl Iterator<Item = (String, String)>,
) -> BTreeSet<String> {
    let is_supported = |name: &str| VARIABLES.iter().any(|(known, _)| *known == name);
    let asks_for_nothing = |name: &str, value: &str| {
        let value = value.trim().to_ascii_lowercase();
        let known = NO_EFFECT.iter().find(|(known, _)| *known == name);
        value.is_empty() || known.is_some_and(|(_, values)| values.contains(&value.as_str()))
    };
    let set = variables.filter(|(name, value)| {
        name.starts_with("OTEL_") && !is_supported(name) && !asks_for_nothing(name, value)
    });
    set.map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_would_change_something_is_unsupported() {
        let unsupported = |variables: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            unsupported(variables.iter().map(owned))
        };
        for (name, _) in VARIABLES {
            assert!(unsupported(&[(name, "x")]).is_empty(), "{name}");
        }
        for (name, values) in NO_EFFECT {
            for value in values {
                assert!(unsupported(&[(name, value)]).is_empty(), "{name}={value}");
            }
            assert_eq!(unsupported(&[(name, "other")]), [name.to_owned()].into());
        }
        let variables = [
            ("OTEL_SPAN_LINK_COUNT_LIMIT", "1"),
            ("OTEL_CONFIG_FILE", ""),
            ("PATH", "/bin"),
            ("OTEL_BSP_MAX_QUEUE", "1"),
        ];
        let expected = ["OTEL_BSP_MAX_QUEUE", "OTEL_SPAN_LINK_COUNT_LIMIT"];
        assert_eq!(unsupported(&variables), expected.map(str::to_owned).into());
    }
}
