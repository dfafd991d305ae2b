//! Where traces and metrics go.

use serde_json::{Value, json};

use crate::renderer::{Manifests, read};

const ENGINE: &str = "rel-distributed-kernel-engine";
const NODES: &str = "rel-distributed-kernel-nodes";

/// The container of a workload.
fn container<'a>(manifests: &'a Manifests, name: &str) -> &'a Value {
    &manifests.get("Deployment", name)["spec"]["template"]["spec"]["containers"][0]
}

/// The environment variables of a workload, in their order.
fn variables(manifests: &Manifests, name: &str) -> Vec<(String, Value)> {
    let variables = container(manifests, name)["env"].as_array().unwrap();
    let variable = |variable: &Value| {
        let value = match variable.get("value") {
            Some(value) => value.clone(),
            None => variable["valueFrom"].clone(),
        };
        (variable["name"].as_str().unwrap().to_owned(), value)
    };
    variables.iter().map(variable).collect()
}

/// Those that OpenTelemetry reads.
fn telemetry(manifests: &Manifests, name: &str) -> Vec<(String, Value)> {
    let mut all = variables(manifests, name);
    all.retain(|(name, _)| name.starts_with("OTEL_"));
    all
}

/// What a workload's pods may connect to.
fn egress(manifests: &Manifests, name: &str) -> Vec<Value> {
    let egress = &manifests.get("NetworkPolicy", name)["spec"]["egress"];
    egress.as_array().unwrap().clone()
}

#[test]
fn engine_and_nodes_send_to_the_collector_and_may_reach_it() {
    let manifests = Manifests::of(&read("ci/otlp-values.yaml")).unwrap();
    let expected = [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            json!("https://collector.monitoring.svc"),
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", json!("http/protobuf")),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            json!("k8s.namespace.name=ns,k8s.pod.name=$(POD_NAME)"),
        ),
        ("OTEL_TRACES_SAMPLER_ARG", json!("0.5")),
        ("OTEL_METRIC_EXPORT_INTERVAL", json!("15000")),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            json!({ "secretKeyRef": { "name": "collector-headers", "key": "headers" } }),
        ),
        (
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            json!("/etc/hotswap-otlp-ca/ca.crt"),
        ),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value));
    let rule = json!({
        "ports": [{ "port": 4318, "protocol": "TCP" }],
        "to": [{ "namespaceSelector": {
            "matchLabels": { "kubernetes.io/metadata.name": "monitoring" }
        } }],
    });
    let of_nodes = "k8s.namespace.name=ns,k8s.pod.name=$(POD_NAME),\
        deployment.environment.name=production";
    let mut of_nodes_too = expected.clone();
    of_nodes_too[2].1 = json!(of_nodes);
    for (name, expected) in [(ENGINE, expected), (NODES, of_nodes_too)] {
        assert_eq!(telemetry(&manifests, name), expected, "{name}");
        assert!(egress(&manifests, name).contains(&rule), "{name}");
        // Kubernetes puts in only what was defined before.
        let names: Vec<_> = variables(&manifests, name);
        let place = |wanted: &str| names.iter().position(|(name, _)| name == wanted);
        assert!(place("POD_NAME") < place("OTEL_RESOURCE_ATTRIBUTES"));
        let pods = names.iter().filter(|(name, _)| name == "POD_NAME");
        assert_eq!(pods.count(), 1, "{name}");
        let mounts = container(&manifests, name)["volumeMounts"].to_string();
        assert!(mounts.contains("/etc/hotswap-otlp-ca"), "{name}: {mounts}");
        let pod = &manifests.get("Deployment", name)["spec"]["template"]["spec"];
        let authority = json!({
            "name": "otlp-ca",
            "secret": {
                "secretName": "collector-ca",
                "items": [{ "key": "ca.crt", "path": "ca.crt" }],
            },
        });
        assert!(pod["volumes"].as_array().unwrap().contains(&authority));
    }
}

#[test]
fn one_signal_can_be_left_out() {
    for (left_out, variable) in [
        ("traces", "OTEL_TRACES_EXPORTER"),
        ("metrics", "OTEL_METRICS_EXPORTER"),
    ] {
        let values = format!("otlp: {{endpoint: 'http://a:1', {left_out}: false}}");
        let manifests = Manifests::of(&values).unwrap();
        let none = (variable.to_owned(), json!("none"));
        for name in [ENGINE, NODES] {
            assert!(telemetry(&manifests, name).contains(&none), "{name}");
        }
    }
}

#[test]
fn the_port_of_the_collector_is_that_of_its_address() {
    for (endpoint, port) in [
        ("http://collector.monitoring:4317", 4317),
        ("https://collector.example.org/otlp", 443),
        ("http://[fd00::1]", 80),
        ("http://[fd00::1]:4318/", 4318),
    ] {
        let manifests = Manifests::of(&format!("otlp: {{endpoint: '{endpoint}'}}")).unwrap();
        let rule = json!({ "ports": [{ "port": port, "protocol": "TCP" }] });
        for name in [ENGINE, NODES] {
            assert!(egress(&manifests, name).contains(&rule), "{endpoint}");
        }
    }
}

#[test]
fn without_a_collector_nothing_is_sent_or_opened() {
    let (with, without) = (
        Manifests::of("otlp: {endpoint: 'http://a:1'}").unwrap(),
        Manifests::of("").unwrap(),
    );
    for name in [ENGINE, NODES] {
        assert!(telemetry(&without, name).is_empty());
        let (open, closed) = (egress(&with, name), egress(&without, name));
        assert_eq!(open.len(), closed.len() + 1);
    }
}

#[test]
fn what_the_chart_sets_is_what_the_program_reads() {
    let reference =
        std::fs::read_to_string(hotswap_tests::tools::repository_root().join("docs/CLI.md"));
    let reference = reference.unwrap();
    for part in read("templates/_helpers.tpl")
        .split("- name: OTEL_")
        .skip(1)
    {
        let name = part.split_whitespace().next().unwrap();
        assert!(reference.contains(&format!("`OTEL_{name}`")), "OTEL_{name}");
    }
}
