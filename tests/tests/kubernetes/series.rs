//! Alerts and dashboards ask for series that exist, with labels that they have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::{Installation, RegistryKind, RegistryServer, tools};
use serde_json::{Value, json};

use crate::renderer::{Manifests, read};

const DASHBOARDS: [&str; 5] = ["deployment", "engine", "fleet", "modules", "node"];

/// Labels that a scrape adds.
const OF_TARGETS: [&str; 2] = ["namespace", "pod"];

/// Whether a scrape adds a label to a series: to those of nodes, their environment too.
fn is_of_target(name: &str, label: &str) -> bool {
    let is_of_node =
        name.starts_with("hotswap_node_") && !name.starts_with("hotswap_node_operation_");
    OF_TARGETS.contains(&label) || is_of_node && label == "environment"
}

/// Values of labels that appear when the thing happens: a critical node, and answers with an error.
const APPEAR_LATER: [(&str, &str); 2] = [("health", "critical"), ("status", "5..")];

/// Series of which each of several engines exposes what it sees of the whole store, of all nodes or
/// of every journal. Added up, three engines would show three times as much.
const OF_THE_STORE: [&str; 9] = [
    "hotswap_deployments_damaged",
    "hotswap_deployments_ended_total",
    "hotswap_deployments_open",
    "hotswap_discovery_source_condition",
    "hotswap_disk_bytes",
    "hotswap_journal_appends_total",
    "hotswap_nodes",
    "hotswap_store_durable",
    "hotswap_store_lost_writes",
];

/// Series of which each of several engines has its own share: modules in the environments whose leases
/// it holds, its leases, its connections. A panel over all of them adds up.
const OF_EACH_ENGINE: [&str; 4] = [
    "hotswap_reconciler_differing",
    "hotswap_store_leases",
    "hotswap_store_reconnects_total",
    "hotswap_store_take_overs_total",
];

/// The samples of each series that a server announces: the values of its labels. None where it has
/// announced the series and nothing has happened.
type Exposed = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// A series in an expression, with the labels and values that it selects by.
#[derive(Debug)]
struct Selected {
    name: String,
    labels: Vec<(String, String)>,
}

/// Reads a text of metrics.
fn read_metrics(text: &str, exposed: &mut Exposed) {
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            let suffixes: &[&str] = match kind {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            for suffix in suffixes {
                exposed.entry(format!("{name}{suffix}")).or_default();
            }
        } else if !line.starts_with('#') {
            for selected in selected(line) {
                let series = exposed.entry(selected.name).or_default();
                // So that one without labels is known to have a sample, too.
                series.entry(String::new()).or_default();
                for (label, value) in selected.labels {
                    series.entry(label).or_default().insert(value);
                }
            }
        }
    }
}

/// Our series in an expression, or in a line of metrics.
fn selected(text: &str) -> Vec<Selected> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut all = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("hotswap_") {
        rest = &rest[start..];
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        rest = &rest[end..];
        let (labels, after) = matchers(rest).unwrap_or_default();
        if !labels.is_empty() {
            rest = after;
        }
        all.push(Selected { name, labels });
    }
    all
}

/// The labels and values between braces, and what follows. Values hold no quotes.
fn matchers(text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    let mut rest = text.strip_prefix('{')?;
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (label, after) = rest.split_once('=')?;
        // Past the `~` of a regular expression.
        let (_, after) = after.split_once('"')?;
        let (value, after) = after.split_once('"')?;
        labels.push((label.trim_end_matches('!').to_owned(), value.to_owned()));
        rest = after;
    }
}

/// The series of an expression, each with the labels by which it is grouped: those of the last
/// `by (…)` before it.
fn grouped(expression: &str) -> Vec<(Selected, Vec<String>)> {
    let mut all = Vec::new();
    for (number, part) in expression.split("by (").enumerate() {
        let (labels, rest) = match (number, part.split_once(')')) {
            (1.., Some((labels, rest))) => (labels, rest),
            _ => ("", part),
        };
        let labels = labels.split(", ").filter(|label| !label.is_empty());
        let labels: Vec<_> = labels.map(str::to_owned).collect();
        let series = selected(rest).into_iter();
        all.extend(series.map(|series| (series, labels.clone())));
    }
    all
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn dashboard(file: &str) -> Value {
    serde_json::from_str(&read(format!("dashboards/{file}.json"))).unwrap()
}

/// Every expression of the dashboards, by the title of its panel.
fn panels() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for file in DASHBOARDS {
        for panel in dashboard(file)["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                all.push((text(&panel["title"]), text(&target["expr"])));
            }
        }
    }
    all
}

/// The labels by which the sides of an expression are joined.
fn joined(expression: &str) -> BTreeSet<String> {
    let lists = expression.split(" on (").skip(1);
    let lists = lists.filter_map(|rest| Some(rest.split_once(')')?.0));
    lists
        .flat_map(|list| list.split(", "))
        .map(str::to_owned)
        .collect()
}

/// What the lines of each panel are named by: the labels of its legends, with the expression.
fn legends() -> Vec<(String, String, Vec<String>)> {
    let mut all = Vec::new();
    for file in DASHBOARDS {
        for panel in dashboard(file)["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                let legend = target["legendFormat"].as_str().unwrap_or_default();
                let labels = legend.split("{{").skip(1);
                let labels = labels.filter_map(|rest| Some(rest.split_once("}}")?.0.to_owned()));
                let title = text(&panel["title"]);
                all.push((title, text(&target["expr"]), labels.collect()));
            }
        }
    }
    all
}

/// Every expression of the alerts and of the dashboards, by a name.
fn expressions() -> Vec<(String, String)> {
    let manifests = Manifests::of("metrics: {prometheusRule: {enabled: true}}").unwrap();
    let rule = manifests.get("PrometheusRule", "rel-distributed-kernel");
    let rules = rule["spec"]["groups"][0]["rules"].as_array().unwrap();
    let mut all: Vec<_> = rules
        .iter()
        .map(|rule| (text(&rule["alert"]), text(&rule["expr"])))
        .collect();
    all.extend(panels());
    all
}

/// The queries of the dashboards' variables, by their names: a series, and a label of it.
fn variables() -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for file in DASHBOARDS {
        for variable in dashboard(file)["templating"]["list"].as_array().unwrap() {
            let Some(query) = variable["query"]["query"].as_str() else {
                continue;
            };
            let inner = query.strip_prefix("label_values(").unwrap();
            let (series, label) = inner.trim_end_matches(')').rsplit_once(", ").unwrap();
            let name = format!("{file} {}", variable["name"]);
            all.push((name, series.to_owned(), label.to_owned()));
        }
    }
    all
}

async fn deploy(hotswap: &Installation, version: &str) -> Result<()> {
    let id = hotswap.propose(version, "direct", json!({})).await?;
    let waits = |state: &Value| state["status"] == "awaitingApproval";
    hotswap.wait_for_state(&id, waits).await?;
    hotswap.approve(&id).await?;
    let ended = hotswap.wait_for_end(&id).await?;
    ensure!(ended["status"] == "succeeded", "{ended}");
    Ok(())
}

/// What an engine and a node expose that meet in a registry, once a version has been deployed and
/// asked, and another one that reports metrics of its own.
async fn exposed() -> Result<Exposed> {
    let registry = RegistryServer::start(RegistryKind::Etcd).await?;
    let url = registry.url();
    let table = format!(
        "[[discovery]]\nname = \"main\"\nbackend = \"etcd\"\norigins = [\"{url}\"]\n\
         networks = [\"127.0.0.0/8\"]\n[discovery.settings]\nendpoints = [\"{url}\"]\n"
    );
    let hotswap = Installation::start_found("production", 1, "", &table).await?;
    let with_metrics = hotswap_guests::MODULE_PROBE;
    hotswap.upload("4.0.0", with_metrics).await?;
    for (version, path) in [("1.0.0", ""), ("4.0.0", "metrics/5")] {
        deploy(&hotswap, version).await?;
        for url in hotswap.data_urls().await? {
            let answer = reqwest::get(format!("{url}{path}")).await?;
            answer.error_for_status()?;
        }
    }
    let nodes = hotswap.get("/api/v1/nodes").await?;
    let control = nodes["nodes"][0]["controlUrl"].as_str().context("no URL")?;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut exposed = Exposed::new();
        for url in [hotswap.url.as_str(), control] {
            let text = reqwest::get(format!("{url}/metrics")).await?;
            read_metrics(&text.text().await?, &mut exposed);
        }
        // Announced with the first reading of the disk.
        if exposed.contains_key("hotswap_disk_full") || Instant::now() > deadline {
            return Ok(exposed);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn alerts_and_dashboards_name_series_and_labels_that_engine_and_nodes_expose() {
    let exposed = exposed().await.unwrap();
    let check = |title: &str, selected: &Selected, labels: &[String]| {
        let name = &selected.name;
        let series = exposed.get(name);
        let series = series.unwrap_or_else(|| panic!("{title}: nobody exposes {name}"));
        assert!(!series.is_empty(), "{title}: {name} has no sample");
        let own = |label: &&str| !is_of_target(name, label);
        for label in labels.iter().map(String::as_str).filter(own) {
            let is_there = series.contains_key(label);
            assert!(is_there, "{title}: {name} has no label {label}: {series:?}");
        }
        for (label, value) in &selected.labels {
            if !own(&label.as_str()) {
                continue;
            }
            let values = series.get(label);
            let values = values.unwrap_or_else(|| panic!("{title}: {name} has no {label}"));
            let is_variable = value.starts_with('$');
            for value in value.split('|') {
                let is_known = is_variable
                    || values.contains(value)
                    || APPEAR_LATER.contains(&(label.as_str(), value));
                assert!(is_known, "{title}: {name} never has {label}={value}");
            }
        }
    };
    let all = expressions();
    assert!(all.len() > 50, "{}", all.len());
    for (title, expression) in &all {
        let grouped = grouped(expression);
        assert!(!grouped.is_empty(), "{title}: {expression}");
        let joined = joined(expression);
        for (selected, labels) in &grouped {
            let labels: Vec<_> = labels.iter().chain(&joined).cloned().collect();
            check(title, selected, &labels);
        }
    }
    let mut named = 0;
    for (title, expression, labels) in legends() {
        let grouped = grouped(&expression);
        for label in labels {
            let of_series = |(selected, by): &(Selected, Vec<String>)| {
                let series = &exposed[&selected.name];
                let is_there = series.contains_key(&label) || is_of_target(&selected.name, &label);
                is_there && (by.is_empty() || by.contains(&label))
            };
            let is_there = grouped.iter().any(of_series);
            assert!(
                is_there,
                "{title}: no series has the label {label} of the legend"
            );
            named += 1;
        }
    }
    assert!(named > 30, "only {named} labels in legends");
    let variables = variables();
    assert!(variables.len() >= 8, "{variables:?}");
    for (title, series, label) in &variables {
        for selected in &selected(series) {
            check(title, selected, std::slice::from_ref(label));
        }
    }
}

/// Nodes of two environments in one namespace are told apart.
#[test]
fn panels_over_nodes_select_the_environment() {
    let mut seen = 0;
    for (title, expression) in panels() {
        for series in selected(&expression) {
            if !is_of_target(&series.name, "environment") {
                continue;
            }
            let mut labels = series.labels.iter().map(|(label, _)| label);
            let selects = labels.any(|label| label == "environment");
            assert!(selects, "{title}: {expression}");
            seen += 1;
        }
    }
    assert!(seen > 30, "only {seen} series of nodes");
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
        promtool(&["check", "rules", path.to_str().unwrap()]);
    }
    let alerts = alerts["groups"][0]["rules"].as_array().unwrap();
    let is_there = |name: &str| alerts.iter().any(|rule| rule["alert"] == name);
    assert!(is_there("HotSwapDiskFull") && !is_there("HotSwapDeploymentRolledBack"));
}

/// Three engines on one store expose the same of it. A panel over all of them shows what it shows
/// over one.
#[test]
fn panels_show_what_one_of_several_engines_sees() {
    let mut tests = Vec::new();
    for (title, expression) in panels() {
        let selected = selected(&expression);
        let of_the_store = |one: &&Selected| OF_THE_STORE.contains(&one.name.as_str());
        let Some(selected) = selected.iter().find(of_the_store) else {
            continue;
        };
        let name = &selected.name;
        let values = match name.ends_with("_total") {
            true => "0+3x120",
            false => "1x120",
        };
        let series = ["engine-0", "engine-1", "engine-2"].map(|pod| {
            let labels = format!("namespace=\"ns\",environment=\"qa\",pod=\"{pod}\"");
            json!({ "series": format!("{name}{{{labels}}}"), "values": values })
        });
        let all = expression
            .replace("$namespace", "ns")
            .replace("$environment", "qa");
        let one = all.replace("namespace=\"ns\"", "namespace=\"ns\",pod=\"engine-0\"");
        tests.push(json!({
            "name": title,
            "interval": "1m",
            "input_series": series,
            "promql_expr_test": [{
                "expr": format!("scalar({all}) == bool scalar({one})"),
                "eval_time": "100m",
                "exp_samples": [{ "value": 1, "labels": "{}" }],
            }],
        }));
    }
    assert!(tests.len() >= 10, "{}", tests.len());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tests.yaml");
    fs::write(&file, json!({ "tests": tests }).to_string()).unwrap();
    promtool(&["test", "rules", file.to_str().unwrap()]);
}

/// What one engine holds and the others do not is not hidden, and does not hide what they hold.
#[test]
fn panels_add_up_what_each_of_several_engines_holds() {
    let mut tests = Vec::new();
    let mut seen = BTreeSet::new();
    for (title, expression) in panels() {
        let selected = selected(&expression);
        let of_each = |one: &&Selected| OF_EACH_ENGINE.contains(&one.name.as_str());
        let Some(selected) = selected.iter().find(of_each) else {
            continue;
        };
        let name = selected.name.clone();
        let all = expression.replace("$namespace", "ns");
        let pods = [("engine-0", 60), ("engine-1", 0), ("engine-2", 120)];
        let series = pods.map(|(pod, value)| {
            let values = match name.ends_with("_total") {
                true => format!("0+{value}x120"),
                false => format!("{value}x120"),
            };
            let labels = format!("namespace=\"ns\",kind=\"environment\",pod=\"{pod}\"");
            json!({ "series": format!("{name}{{{labels}}}"), "values": values })
        });
        let of = |(pod, _)| {
            let one = format!("namespace=\"ns\",pod=\"{pod}\"");
            let one = all.replace("namespace=\"ns\"", &one);
            format!("scalar(sum({one}))")
        };
        let each = pods.map(of).join(" + ");
        tests.push(json!({
            "name": title,
            "interval": "1m",
            "input_series": series,
            "promql_expr_test": [{
                "expr": format!("round(sum({all}) - ({each}), 0.001) == bool 0"),
                "eval_time": "100m",
                "exp_samples": [{ "value": 1, "labels": "{}" }],
            }],
        }));
        seen.insert(name);
    }
    let expected = OF_EACH_ENGINE.map(str::to_owned);
    assert_eq!(seen, BTreeSet::from(expected), "each has a panel");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tests.yaml");
    fs::write(&file, json!({ "tests": tests }).to_string()).unwrap();
    promtool(&["test", "rules", file.to_str().unwrap()]);
}

fn promtool(arguments: &[&str]) {
    let mut check: Command = tools::promtool().unwrap().into_std();
    let output = check.args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
}
