//! Alerts and dashboards ask for series that exist.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use hotswap_tests::{Installation, tools};
use serde_json::{Value, json};

use crate::renderer::{Manifests, read};

/// The names of series that a text of metrics announces.
fn announced(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("# TYPE ") else {
            continue;
        };
        let (name, kind) = rest.split_once(' ').unwrap();
        let suffixes: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        names.extend(suffixes.iter().map(|suffix| format!("{name}{suffix}")));
    }
    names
}

/// The names of our series in an expression.
fn named(expression: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = expression.split(|c| !is_part(c));
    words
        .filter(|word| word.starts_with("hotswap_"))
        .map(str::to_owned)
        .collect()
}

/// Every expression of the alerts and of the dashboards, by a name.
fn expressions() -> Vec<(String, String)> {
    let manifests = Manifests::of("metrics: {prometheusRule: {enabled: true}}").unwrap();
    let rule = manifests.get("PrometheusRule", "rel-distributed-kernel");
    let rules = rule["spec"]["groups"][0]["rules"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut all: Vec<_> = rules
        .iter()
        .map(|rule| (text(&rule["alert"]), text(&rule["expr"])))
        .collect();
    for file in ["deployment", "engine", "fleet", "modules", "node"] {
        let dashboard: Value =
            serde_json::from_str(&read(format!("dashboards/{file}.json"))).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                all.push((text(&panel["title"]), text(&target["expr"])));
            }
        }
    }
    all
}

#[tokio::test]
async fn alerts_and_dashboards_name_series_that_engine_and_nodes_expose() {
    let installation = Installation::start("production", 1, &[]).await.unwrap();
    let nodes = installation.get("/api/v1/nodes").await.unwrap();
    let control = nodes["nodes"][0]["controlUrl"].as_str().unwrap();
    let mut exposed = BTreeSet::new();
    for url in [&installation.url, control] {
        let text = reqwest::get(format!("{url}/metrics")).await.unwrap();
        exposed.extend(announced(&text.text().await.unwrap()));
    }
    // Announced with the next reading of the disk.
    exposed.extend(["hotswap_disk_bytes", "hotswap_disk_full"].map(str::to_owned));
    let all = expressions();
    assert!(all.len() > 25, "{}", all.len());
    for (title, expression) in all {
        let names = named(&expression);
        assert!(!names.is_empty(), "{title}: {expression}");
        for name in names {
            assert!(exposed.contains(&name), "{title}: nobody exposes {name}");
        }
    }
}

#[test]
fn prometheus_accepts_every_alert_and_every_expression_of_the_dashboards() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = Manifests::of(&read("ci/monitoring-values.yaml")).unwrap();
    let alerts = &manifests.get("PrometheusRule", "rel-distributed-kernel")["spec"];
    let recorded = expressions()
        .into_iter()
        .enumerate()
        .map(|(number, (_, expression))| {
            let expression = expression.replace("$namespace", "ns");
            json!({ "record": format!("recorded:{number}"), "expr": expression })
        });
    let recorded = json!({ "groups": [{ "name": "all", "rules": recorded.collect::<Vec<_>>() }] });
    for (name, rules) in [("alerts", alerts), ("recorded", &recorded)] {
        // JSON is YAML.
        let path = folder.path().join(format!("{name}.yaml"));
        fs::write(&path, rules.to_string()).unwrap();
        let mut check: Command = tools::promtool().unwrap().into_std();
        let output = check.args(["check", "rules"]).arg(&path).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&said)
        );
    }
    let alerts = alerts["groups"][0]["rules"].as_array().unwrap();
    let is_there = |name: &str| alerts.iter().any(|rule| rule["alert"] == name);
    assert!(is_there("HotSwapDiskFull") && !is_there("HotSwapDeploymentRolledBack"));
}

/// What fires when: series as they would be, and the alerts after twenty minutes of them.
#[test]
fn alerts_fire_when_they_should() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = Manifests::of("metrics: {prometheusRule: {enabled: true}}").unwrap();
    let rule = manifests.get("PrometheusRule", "rel-distributed-kernel");
    let namespace = rule["metadata"]["namespace"].as_str().unwrap();
    let path = folder.path().join("alerts.yaml");
    fs::write(&path, rule["spec"].to_string()).unwrap();
    let cases = [
        (
            "HotSwapReconcilerLags",
            "hotswap_reconciler_lag_seconds",
            "",
            "700x30",
        ),
        ("HotSwapDiskFull", "hotswap_disk_full", "", "1x30"),
        (
            "HotSwapDeploymentDamaged",
            "hotswap_deployments_damaged",
            "",
            "2x30",
        ),
        (
            "HotSwapNodesCritical",
            "hotswap_nodes",
            ",health=\"critical\"",
            "1x30",
        ),
        (
            "HotSwapNodeOperationsFail",
            "hotswap_node_operation_failures_total",
            "",
            "0+1x30",
        ),
        (
            "HotSwapEngineFallsBehind",
            "hotswap_store_tail_lag_seconds",
            "",
            "60x30",
        ),
        (
            "HotSwapMetricPointsLost",
            "hotswap_metric_points_total",
            ",outcome=\"failed\"",
            "0+9x30",
        ),
        (
            "HotSwapSpansLost",
            "hotswap_trace_spans_total",
            ",outcome=\"dropped\"",
            "0+9x30",
        ),
    ];
    // How many of an alert fire is a query, so that the texts stand in one place.
    let test = |(alert, series, labels, values): (&str, &str, &str, &str), count: usize| {
        let count = if count == 0 {
            json!([])
        } else {
            json!([{ "value": count, "labels": "{}" }])
        };
        json!({
            "interval": "1m",
            "input_series": [{
                "series": format!("{series}{{namespace=\"{namespace}\"{labels}}}"),
                "values": values,
            }],
            "promql_expr_test": [{
                "expr": format!("count(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}})"),
                "eval_time": "20m",
                "exp_samples": count,
            }],
        })
    };
    let firing = cases.map(|case| test(case, 1));
    let quiet = cases.map(|(alert, series, labels, _)| test((alert, series, labels, "0x30"), 0));
    let tests = [firing, quiet].concat();
    let file = folder.path().join("tests.yaml");
    let content = json!({ "rule_files": [path], "evaluation_interval": "1m", "tests": tests });
    fs::write(&file, content.to_string()).unwrap();
    let mut check: Command = tools::promtool().unwrap().into_std();
    let output = check.args(["test", "rules"]).arg(&file).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

/// Each alert leads to its part of the runbook, and no part is about an alert that is gone.
#[test]
fn the_runbook_has_a_part_for_each_alert() {
    let values =
        "metrics: {prometheusRule: {enabled: true, runbookUrl: 'https://docs/RUNBOOK.md'}}";
    let manifests = Manifests::of(values).unwrap();
    let rule = manifests.get("PrometheusRule", "rel-distributed-kernel");
    let rules = rule["spec"]["groups"][0]["rules"].as_array().unwrap();
    let alerts: BTreeSet<_> = rules
        .iter()
        .map(|rule| rule["alert"].as_str().unwrap())
        .collect();
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        let url = format!("https://docs/RUNBOOK.md#{}", name.to_lowercase());
        assert_eq!(rule["annotations"]["runbook_url"], url.as_str());
    }
    let path = tools::repository_root().join("docs/RUNBOOK.md");
    let text = fs::read_to_string(path).unwrap();
    let parts: Vec<_> = text.split("\n## ").skip(1).collect();
    let headings: BTreeSet<_> = parts
        .iter()
        .filter_map(|part| part.lines().next())
        .collect();
    assert_eq!(headings, alerts);
    for part in parts {
        for what in ["**It means.**", "**Look at.**", "**Do.**"] {
            assert!(part.contains(what), "{what}: {part}");
        }
    }
}
