//! What alerts fire at, and where they lead.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use hotswap_tests::tools;
use serde_json::{Value, json};

use crate::renderer::{Manifests, read};

/// A series of each pod: its name, its labels, and its values as `promtool` has them.
type Series = (&'static str, &'static str, &'static str);

/// An alert, series at which it fires, and those of them that keep it quiet with other values.
struct Case {
    alert: &'static str,
    firing: &'static [Series],
    quiet: &'static [Series],
}

/// Each alert once. What of it is the same for the quiet case is not said again.
const CASES: &[Case] = &[
    Case {
        alert: "HotSwapEngineDown",
        firing: &[("hotswap_nodes", "", "1x300")],
        quiet: &[("hotswap_deployments_damaged", "", "0x300")],
    },
    Case {
        alert: "HotSwapDeploymentDamaged",
        firing: &[("hotswap_deployments_damaged", "", "2x300")],
        quiet: &[("hotswap_deployments_damaged", "", "0x300")],
    },
    Case {
        alert: "HotSwapDiskFull",
        firing: &[("hotswap_disk_full", "", "1x300")],
        quiet: &[("hotswap_disk_full", "", "0x300")],
    },
    Case {
        alert: "HotSwapDiskFillsUp",
        firing: &[
            ("hotswap_disk_bytes", ",kind=\"free\"", "1000x300"),
            ("hotswap_disk_bytes", ",kind=\"database\"", "9000000000x300"),
        ],
        quiet: &[
            ("hotswap_disk_bytes", ",kind=\"free\"", "9000000000x300"),
            ("hotswap_disk_bytes", ",kind=\"database\"", "1000x300"),
        ],
    },
    Case {
        alert: "HotSwapNodesCritical",
        firing: &[(
            "hotswap_nodes",
            ",environment=\"qa\",health=\"critical\"",
            "1x300",
        )],
        quiet: &[(
            "hotswap_nodes",
            ",environment=\"qa\",health=\"passing\"",
            "1x300",
        )],
    },
    Case {
        alert: "HotSwapDeploymentFailed",
        firing: &[(
            "hotswap_deployments_ended_total",
            ",outcome=\"failed\"",
            "0+1x300",
        )],
        quiet: &[(
            "hotswap_deployments_ended_total",
            ",outcome=\"failed\"",
            "9x300",
        )],
    },
    Case {
        alert: "HotSwapDeploymentRolledBack",
        firing: &[(
            "hotswap_deployments_ended_total",
            ",outcome=\"rolledBack\"",
            "0+1x300",
        )],
        quiet: &[(
            "hotswap_deployments_ended_total",
            ",outcome=\"failed\"",
            "0+1x300",
        )],
    },
    Case {
        alert: "HotSwapApprovalWaits",
        firing: &[(WAIT, "", "0+60x300")],
        // One after the other waits, for minutes each.
        quiet: &[
            (WAIT, "", "600x300"),
            (
                "hotswap_deployments_open",
                ",status=\"awaitingApproval\"",
                "1x300",
            ),
        ],
    },
    Case {
        alert: "HotSwapSourceStale",
        firing: &[(SOURCE, ",source=\"consul\",condition=\"stale\"", "1x300")],
        quiet: &[(SOURCE, ",source=\"consul\",condition=\"healthy\"", "1x300")],
    },
    Case {
        alert: "HotSwapApiErrors",
        firing: &[
            (REQUESTS, ",status=\"200\"", "0+9x300"),
            (REQUESTS, ",status=\"503\"", "0+1x300"),
        ],
        quiet: &[
            (REQUESTS, ",status=\"200\"", "0+99x300"),
            (REQUESTS, ",status=\"503\"", "0+1x300"),
        ],
    },
    Case {
        alert: "HotSwapReconcilerLags",
        firing: &[("hotswap_reconciler_lag_seconds", "", "700x300")],
        quiet: &[("hotswap_reconciler_lag_seconds", "", "30x300")],
    },
    Case {
        alert: "HotSwapNodeOperationsFail",
        firing: &[(FAILURES, ",operation=\"stage\"", "0+1x300")],
        quiet: &[(FAILURES, ",operation=\"stage\"", "9x300")],
    },
    Case {
        alert: "HotSwapAppendsSlow",
        firing: &[
            (APPENDS, ",le=\"1.0\"", "0x300"),
            (APPENDS, ",le=\"10.0\"", "0+9x300"),
            (APPENDS, ",le=\"+Inf\"", "0+9x300"),
        ],
        quiet: &[
            (APPENDS, ",le=\"1.0\"", "0+9x300"),
            (APPENDS, ",le=\"10.0\"", "0+9x300"),
            (APPENDS, ",le=\"+Inf\"", "0+9x300"),
        ],
    },
    Case {
        alert: "HotSwapWritesLost",
        firing: &[("hotswap_store_lost_writes", "", "1x300")],
        quiet: &[("hotswap_store_lost_writes", "", "0x300")],
    },
    Case {
        alert: "HotSwapStoreNotDurable",
        firing: &[("hotswap_store_durable", "", "0x300")],
        quiet: &[("hotswap_store_durable", "", "1x300")],
    },
    Case {
        alert: "HotSwapEngineFallsBehind",
        firing: &[("hotswap_store_tail_lag_seconds", "", "60x300")],
        quiet: &[("hotswap_store_tail_lag_seconds", "", "1x300")],
    },
    Case {
        alert: "HotSwapSpansLost",
        firing: &[(
            "hotswap_trace_spans_total",
            ",outcome=\"dropped\"",
            "0+9x300",
        )],
        quiet: &[(
            "hotswap_trace_spans_total",
            ",outcome=\"exported\"",
            "0+9x300",
        )],
    },
    Case {
        alert: "HotSwapSpansLost",
        firing: &[(
            "hotswap_node_trace_spans_total",
            ",outcome=\"dropped\"",
            "0+9x300",
        )],
        quiet: &[(
            "hotswap_node_trace_spans_total",
            ",outcome=\"exported\"",
            "0+9x300",
        )],
    },
    Case {
        alert: "HotSwapMetricPointsLost",
        firing: &[(
            "hotswap_metric_points_total",
            ",outcome=\"failed\"",
            "0+9x300",
        )],
        quiet: &[(
            "hotswap_metric_points_total",
            ",outcome=\"exported\"",
            "0+9x300",
        )],
    },
    Case {
        alert: "HotSwapMetricPointsLost",
        firing: &[(
            "hotswap_node_metric_points_total",
            ",outcome=\"failed\"",
            "0+9x300",
        )],
        quiet: &[(
            "hotswap_node_metric_points_total",
            ",outcome=\"exported\"",
            "0+9x300",
        )],
    },
    Case {
        alert: "HotSwapModuleErrors",
        firing: &[
            ("hotswap_node_requests_total", OF_MODULE, "0+9x300"),
            ("hotswap_node_errors_total", OF_MODULE, "0+1x300"),
        ],
        quiet: &[
            ("hotswap_node_requests_total", OF_MODULE, "0+99x300"),
            ("hotswap_node_errors_total", OF_MODULE, "0+1x300"),
        ],
    },
    // Every request fails in `qa`, and they are few beside those of `production`.
    Case {
        alert: "HotSwapModuleErrors",
        firing: &[
            ("hotswap_node_requests_total", IN_PRODUCTION, "0+99x300"),
            ("hotswap_node_errors_total", IN_PRODUCTION, "0x300"),
            ("hotswap_node_requests_total", IN_QA, "0+1x300"),
            ("hotswap_node_errors_total", IN_QA, "0+1x300"),
        ],
        quiet: &[
            ("hotswap_node_requests_total", IN_PRODUCTION, "0+99x300"),
            ("hotswap_node_errors_total", IN_PRODUCTION, "0+1x300"),
            ("hotswap_node_requests_total", IN_QA, "0+99x300"),
            ("hotswap_node_errors_total", IN_QA, "0+1x300"),
        ],
    },
];

const WAIT: &str = "hotswap_deployments_longest_approval_wait_seconds";
const SOURCE: &str = "hotswap_discovery_source_condition";
const REQUESTS: &str = "hotswap_http_requests_total";
const FAILURES: &str = "hotswap_node_operation_failures_total";
const APPENDS: &str = "hotswap_journal_append_duration_seconds_bucket";
const OF_MODULE: &str = ",module=\"hello\",version=\"2.0.0\"";
const IN_PRODUCTION: &str = ",environment=\"production\",module=\"hello\",version=\"2.0.0\"";
const IN_QA: &str = ",environment=\"qa\",module=\"hello\",version=\"2.0.0\"";

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

/// Series as they would be with three pods, and the alerts after almost five hours of them. Each
/// fires once, and not once for each pod.
#[test]
fn every_alert_fires_when_it_should_and_is_quiet_when_not() {
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
    let test = |alert: &str, all: &[Series], fires: bool| {
        // How many of an alert fire is a query, so that the texts stand in one place.
        let count = match fires {
            true => json!([{ "value": 1, "labels": "{}" }]),
            false => json!([]),
        };
        json!({
            "name": format!("{alert}: {}", if fires { "fires" } else { "is quiet" }),
            "interval": "1m",
            "input_series": all.iter().flat_map(series).collect::<Vec<_>>(),
            "promql_expr_test": [{
                "expr": format!("count(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}})"),
                "eval_time": "290m",
                "exp_samples": count,
            }],
        })
    };
    let tests: Vec<_> = CASES
        .iter()
        .flat_map(|case| {
            [
                test(case.alert, case.firing, true),
                test(case.alert, case.quiet, false),
            ]
        })
        .collect();
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
