//! What alerts fire at, and where they lead.

mod cases;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use hotswap_tests::tools;
use serde_json::{Value, json};

use crate::renderer::{Manifests, read};

use cases::{CASES, Case, Series};

/// The last minute of the series.
const END: u16 = 290;

/// The pods of three engines, each of which exposes the same of their store, or of three nodes.
const PODS: [&str; 3] = ["pod-0", "pod-1", "pod-2"];

/// The object with all alerts.
fn rule() -> Value {
    let values =
        "metrics: {prometheusRule: {enabled: true, runbookUrl: 'https://docs/RUNBOOK.md'}}";
    let manifests = Manifests::of(values).unwrap();
    manifests
        .get("PrometheusRule", "rel-distributed-kernel")
        .clone()
}

fn alerts(rule: &Value) -> &[Value] {
    rule["spec"]["groups"][0]["rules"].as_array().unwrap()
}

fn names(rule: &Value) -> BTreeSet<&str> {
    let names = alerts(rule).iter().map(|rule| rule["alert"].as_str());
    names.map(Option::unwrap).collect()
}

/// Series as they would be with three pods. An alert fires once the condition has held for its time,
/// not a minute before, and once and not for each pod.
#[test]
fn every_alert_fires_just_above_its_threshold_after_its_time_and_is_quiet_just_below() {
    let rule = rule();
    let cases: BTreeSet<_> = CASES.iter().map(|case| case.alert).collect();
    assert_eq!(cases, names(&rule), "each alert has a case");
    let namespace = rule["metadata"]["namespace"].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alerts.yaml");
    fs::write(&path, rule["spec"].to_string()).unwrap();
    let series = |&(name, labels, values): &Series| {
        PODS.map(|pod| {
            let labels = format!("namespace=\"{namespace}\",pod=\"{pod}\"{labels}");
            json!({ "series": format!("{name}{{{labels}}}"), "values": values })
        })
    };
    let test = |alert: &str, what: &str, all: &[Series], expected: &[(u16, bool)]| {
        // How many of an alert fire is a query, so that the texts stand in one place.
        let expr = format!("count(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}})");
        let queries = expected.iter().map(|(minute, fires)| {
            let count = match fires {
                true => json!([{ "value": 1, "labels": "{}" }]),
                false => json!([]),
            };
            json!({ "expr": expr, "eval_time": format!("{minute}m"), "exp_samples": count })
        });
        json!({
            "name": format!("{alert}: {what}"),
            "interval": "1m",
            "input_series": all.iter().flat_map(series).collect::<Vec<_>>(),
            "promql_expr_test": queries.collect::<Vec<_>>(),
        })
    };
    let tests = CASES.iter().flat_map(|case| {
        let Case {
            alert,
            firing,
            quiet,
            fires_at,
        } = case;
        let before = fires_at.checked_sub(1).map(|minute| (minute, false));
        let at: Vec<_> = before.into_iter().chain([(*fires_at, true)]).collect();
        let never = [(*fires_at, false), (END, false)];
        [
            test(alert, "fires", firing, &at),
            test(alert, "is quiet", quiet, &never),
        ]
    });
    let tests: Vec<_> = tests.collect();
    let file = folder.path().join("tests.yaml");
    let content = json!({ "rule_files": [path], "evaluation_interval": "1m", "tests": tests });
    fs::write(&file, content.to_string()).unwrap();
    let mut check: Command = tools::promtool().unwrap().into_std();
    let output = check.args(["test", "rules"]).arg(&file).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
}

/// Each alert leads to its part of the runbook, and no part is about an alert that is gone.
#[test]
fn the_runbook_has_a_part_for_each_alert() {
    let rule = rule();
    for alert in alerts(&rule) {
        let name = alert["alert"].as_str().unwrap();
        let url = format!("https://docs/RUNBOOK.md#{}", name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook_url"], url.as_str());
    }
    let path = tools::repository_root().join("docs/RUNBOOK.md");
    let text = fs::read_to_string(path).unwrap();
    let parts: Vec<_> = text.split("\n## ").skip(1).collect();
    // What no alert says has a sentence for its heading.
    let headings: BTreeSet<_> = parts
        .iter()
        .filter_map(|part| part.lines().next())
        .filter(|heading| !heading.contains(' '))
        .collect();
    assert_eq!(headings, names(&rule));
    for part in parts {
        for what in ["**It means.**", "**Look at.**", "**Do.**"] {
            assert!(part.contains(what), "{what}: {part}");
        }
    }
}

/// A checkout is published nowhere, and a link that leads nowhere is worse than none. The chart of a
/// release has the address, which the workflow writes.
#[test]
fn alerts_have_a_link_only_where_the_runbook_is_published() {
    let manifests = Manifests::of("metrics: {prometheusRule: {enabled: true}}").unwrap();
    let rule = manifests.get("PrometheusRule", "rel-distributed-kernel");
    for alert in alerts(rule) {
        assert!(alert["annotations"].get("runbook_url").is_none(), "{alert}");
    }
    let workflow = tools::repository_root().join(".github/workflows/release.yml");
    let workflow = fs::read_to_string(workflow).unwrap();
    let written = workflow.contains("runbookUrl: $runbook|\" helm/distributed-kernel/values.yaml");
    assert!(written, "{workflow}");
    assert!(read("values.yaml").contains("\n    runbookUrl: \"\"\n"));
}

#[test]
fn the_readme_lists_every_alert_with_its_severity() {
    let rule = rule();
    let readme = read("README.md");
    let rows = readme.lines().filter(|line| line.starts_with("| `HotSwap"));
    let listed: BTreeSet<_> = rows
        .map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            (cells[1].trim_matches('`'), cells[2])
        })
        .collect();
    let expected = alerts(&rule).iter().map(|alert| {
        let severity = alert["labels"]["severity"].as_str().unwrap();
        (alert["alert"].as_str().unwrap(), severity)
    });
    assert_eq!(listed, expected.collect());
}
