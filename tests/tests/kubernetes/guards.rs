//! Combinations of values that the chart refuses.

use serde_json::{Value, json};

use crate::renderer::{Manifests, read, render_values};

const ENGINE: &str = "rel-distributed-kernel-engine";

/// Values, and a part of the reason for which they are refused.
const REFUSED: &[(&str, &str)] = &[
    ("image: {repository: ''}", "image.repository is empty"),
    (
        "engine: {replicaCount: 2}",
        "which two engines cannot share",
    ),
    (
        "engine: {autoscaling: {enabled: true}}",
        "without a store that engines share",
    ),
    (
        "redis: {enabled: true}\nexternalRedis: {url: 'redis://a:6379'}",
        "engines have one store",
    ),
    (
        "redis: {enabled: true, persistence: {enabled: false}}",
        "is lost with the pod of the store",
    ),
    (
        "redis: {enabled: true, stateMoved: true}",
        "would not be held up",
    ),
    (
        "externalRedis: {url: 'redis://me:secret@a:6379'}",
        "addresses are shown and logged",
    ),
    (
        "externalRedis: {existingSecret: password}",
        "the engines would not use it",
    ),
    (
        "redis: {enabled: true}\nengine: {podDisruptionBudget: {enabled: true, minAvailable: 3}}",
        "engine.podDisruptionBudget.minAvailable is 3 of 3 pods",
    ),
    (
        "redis: {enabled: true}\nengine: {autoscaling: {enabled: true, minReplicas: 2}, \
         podDisruptionBudget: {minAvailable: 2}}",
        "engine.podDisruptionBudget.minAvailable is 2 of 2 pods",
    ),
    ("engine: {replicaCount: 0}", "nobody would drive rollouts"),
    (
        "engine: {persistence: {enabled: false}}",
        "is lost with its pod",
    ),
    (
        "engine: {podDisruptionBudget: {enabled: true, minAvailable: 1, maxUnavailable: null}}",
        "would forbid every eviction",
    ),
    (
        "engine: {terminationGracePeriodSeconds: 10}",
        "is 10, and stopping may take 20",
    ),
    (
        "auth: {existingSecret: tokens, apiToken: 0123456789abcdef}",
        "the tokens come from one place",
    ),
    (
        "auth: {apiToken: 0123456789abcdef, nodeToken: 0123456789abcdef}",
        "auth.apiToken and auth.nodeToken are the same",
    ),
    (
        "auth: {apiTokenKey: token, nodeTokenKey: token}",
        "auth.apiTokenKey and auth.nodeTokenKey are",
    ),
    (
        "otlp: {endpoint: 'https://me:secret@collector:4318'}",
        "set otlp.headersSecret",
    ),
    (
        "otlp: {endpoint: 'http://collector:4317', traces: false, metrics: false}",
        "are both false",
    ),
    (
        "otlp: {headersSecret: headers}",
        "no endpoint: nothing would be sent",
    ),
    (
        "otlp: {endpoint: 'http://collector:4317', caSecret: authority}",
        "no certificate would be checked",
    ),
    (
        "metrics: {serviceMonitor: {enabled: true}}",
        "the policies would not let Prometheus reach the nodes",
    ),
    (
        "tls: {engineSecret: ours}\nnetworkPolicy: {enabled: false}\n\
         metrics: {serviceMonitor: {enabled: true, namespace: monitoring}}",
        "metrics.serviceMonitor.namespace is monitoring",
    ),
    (
        "engine: {existingConfigMap: mine}\ndiscovery: {mode: kubernetes}",
        "cannot add the sources of nodes",
    ),
    (
        "nodeGroups: {engine: {environment: qa}}",
        "the names of the engine's",
    ),
    (
        "nodeGroups: {nodes: null, web: {}}",
        "nodeGroups.web has neither environment nor labels",
    ),
    (
        "nodeGroups: {nodes: {persistence: {enabled: true}}}",
        "nodeGroups.nodes.persistence.enabled with kind Deployment",
    ),
    (
        "nodeGroups: {nodes: {kind: DaemonSet, autoscaling: {enabled: true}}}",
        "the number of pods is that of the machines",
    ),
    (
        "node: {autoscaling: {enabled: true, minReplicas: 11}}",
        "is more than maxReplicas",
    ),
    (
        "node: {autoscaling: {enabled: true, targetCPUUtilizationPercentage: null, \
         targetMemoryUtilizationPercentage: null}}",
        "autoscaling has no metric",
    ),
    (
        "node: {autoscaling: {enabled: true}, resources: {requests: {cpu: null}}}",
        "aims at a share of the CPU request",
    ),
    (
        "node: {autoscaling: {enabled: true}, resources: {requests: {memory: null}}}",
        "aims at a share of the memory request",
    ),
    (
        "node: {podDisruptionBudget: {maxUnavailable: 1}}",
        "has both minAvailable and maxUnavailable",
    ),
    (
        "node: {podDisruptionBudget: {minAvailable: null}}",
        "has neither minAvailable nor",
    ),
    ("node: {replicaCount: 2}", "minAvailable is 2 of 2 pods"),
    (
        "node: {replicaCount: 1, podDisruptionBudget: {minAvailable: 50%}}",
        "minAvailable is 50%, and Kubernetes rounds it up",
    ),
    (
        "node: {replicaCount: 3, podDisruptionBudget: {minAvailable: 67%}}",
        "minAvailable is 67%, and Kubernetes rounds it up",
    ),
    (
        "nodeGroups: {nodes: {kind: DaemonSet, podDisruptionBudget: {minAvailable: 100%}}}",
        "minAvailable is 100%, and Kubernetes rounds it up",
    ),
    (
        "node: {podDisruptionBudget: {minAvailable: null, maxUnavailable: 0}}",
        "nodeGroups.nodes.podDisruptionBudget.maxUnavailable is 0",
    ),
    (
        "redis: {enabled: true}\nengine: {podDisruptionBudget: {maxUnavailable: 0%}}",
        "engine.podDisruptionBudget.maxUnavailable is 0",
    ),
    (
        "node: {lameDuckSeconds: 30}",
        "is 60, and stopping may take 65",
    ),
    (
        "tls: {nodeSecret: theirs, engineSecret: ours}",
        "since pods are reached",
    ),
    ("tls: {mutual: true}", "needs certificates of both sides"),
    (
        "tls: {nodeSecret: theirs, engineSecret: ours, nodeName: nodes}\ndiscovery: {mode: kubernetes}",
        "do not say that a port speaks HTTPS",
    ),
    (
        "engine: {ingress: {enabled: true}}",
        "engine.ingress.enabled without hosts",
    ),
    (
        "engine: {ingress: {enabled: true, hosts: [a.example], path: /hotswap}}",
        "engine.ingress.path is /hotswap",
    ),
    (
        "node: {ingress: {tls: {certManager: {issuer: ours}}}}",
        "nodeGroups.nodes.ingress.tls.certManager.issuer without",
    ),
    (
        "node: {httpRoute: {enabled: true}}",
        "nodeGroups.nodes.httpRoute.enabled without parentRefs",
    ),
];

/// The starts of the reasons of guards that look at the cluster, which `upgrades.rs` hits.
pub const CLAIM_GOES: &str = "the claim %s holds the journals of the engine";
pub const SERVER_GOES: &str = "the StatefulSet %s holds the journals of the engines";

#[test]
fn every_guard_refuses_what_it_is_for_with_the_reason() {
    let mut errors = Vec::new();
    for (values, reason) in REFUSED {
        // Given over the minimal values, so `image.repository` is set unless the case clears it.
        let rendered = match values.starts_with("image:") {
            true => crate::renderer::helm(&[
                "template",
                "rel",
                crate::renderer::chart().to_str().unwrap(),
                "--kube-version=1.30.14",
            ]),
            false => render_values(values),
        };
        let error = rendered.unwrap().expect_err(values);
        assert!(error.contains(reason), "{values}: {error}");
        errors.push(error);
    }
    let guards = read("templates/guards.yaml");
    let calls: Vec<_> = guards.split("{{- fail ").skip(1).collect();
    assert!(calls.len() >= 20, "only {} guards", calls.len());
    for call in calls {
        let message = call.split('"').nth(1).unwrap();
        let of_cluster = [CLAIM_GOES, SERVER_GOES];
        if of_cluster.iter().any(|start| message.starts_with(start)) {
            continue;
        }
        let is_hit = errors.iter().any(|error| is_made_by(error, message));
        assert!(is_hit, "no test is refused with: {message}");
    }
}

/// Whether an error is made from a message with placeholders, such as `%s`.
fn is_made_by(error: &str, message: &str) -> bool {
    let parts = message.split(['%']).enumerate();
    let mut parts = parts.map(|(number, part)| match number {
        0 => part,
        // The letter of the placeholder.
        _ => part.get(1..).unwrap_or_default(),
    });
    let mut rest = error;
    parts.all(|part| match rest.split_once(part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

/// A budget that the values do not number forbids no drain, however few engines there are.
#[test]
fn engines_that_share_a_store_have_a_budget_that_lets_one_go() {
    let shared = "redis: {enabled: true}\nengine: ";
    for (values, minimum, maximum) in [
        ("{}", json!(2), Value::Null),
        ("{replicaCount: 2}", Value::Null, json!(1)),
        ("{replicaCount: 1}", Value::Null, json!(1)),
        ("{autoscaling: {enabled: true}}", json!(2), Value::Null),
        (
            "{autoscaling: {enabled: true, minReplicas: 2}}",
            Value::Null,
            json!(1),
        ),
        (
            "{autoscaling: {enabled: true, minReplicas: 2}, podDisruptionBudget: {enabled: true}}",
            Value::Null,
            json!(1),
        ),
        (
            "{podDisruptionBudget: {minAvailable: 50%}}",
            json!("50%"),
            Value::Null,
        ),
    ] {
        let manifests = Manifests::of(&format!("{shared}{values}")).unwrap();
        let budget = &manifests.get("PodDisruptionBudget", ENGINE)["spec"];
        assert_eq!(budget["minAvailable"], minimum, "{values}");
        assert_eq!(budget["maxUnavailable"], maximum, "{values}");
    }
    let off = format!("{shared}{{podDisruptionBudget: {{enabled: false}}}}");
    for values in [off.as_str(), "{}"] {
        let manifests = Manifests::of(values).unwrap();
        let budget = manifests.find("PodDisruptionBudget", ENGINE);
        assert!(budget.is_none(), "{values}");
    }
}

#[test]
fn a_group_with_a_share_or_a_higher_count_is_accepted() {
    for values in [
        "nodeGroups: {nodes: {replicaCount: 4, podDisruptionBudget: {minAvailable: 75%}}}",
        "nodeGroups: {nodes: {replicaCount: 3, podDisruptionBudget: {minAvailable: 66%}}}",
        "node: {replicaCount: 1, podDisruptionBudget: {minAvailable: null, maxUnavailable: 1%}}",
        "nodeGroups: {nodes: {kind: DaemonSet, podDisruptionBudget: {minAvailable: 99%}}}",
        "nodeGroups: {nodes: {kind: DaemonSet}}",
        "nodeGroups: {nodes: null}",
        "node: {lameDuckSeconds: 0, drainSeconds: 30, terminationGracePeriodSeconds: 33}",
    ] {
        let rendered = render_values(values).unwrap();
        assert!(rendered.is_ok(), "{values}: {rendered:?}");
    }
}
