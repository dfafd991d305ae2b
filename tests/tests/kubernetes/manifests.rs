//! What the chart renders to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hotswap_tests::{read_yaml, tools};
use serde_json::{Value, json};

use crate::renderer::{Manifests, VERSIONS, chart, helm, lint, read, render, value_files};

/// Kinds of others, of which the validator has no schema. `admission.rs` has one.
const UNKNOWN_KINDS: [&str; 3] = ["HTTPRoute", "PrometheusRule", "ServiceMonitor"];

const ENGINE: &str = "rel-distributed-kernel-engine";
const NODES: &str = "rel-distributed-kernel-nodes";

#[test]
fn every_file_of_values_lints_and_is_valid_for_every_version_of_kubernetes() {
    let python_folder = tools::repository_root().join("tests/chart");
    let folder = tempfile::tempdir().unwrap();
    let mut values: Vec<Option<String>> = vec![None];
    let files = value_files().unwrap();
    values.extend(
        files
            .iter()
            .map(|file| Some(file.to_str().unwrap().to_owned())),
    );
    for version in VERSIONS {
        let mut rendered = Vec::new();
        for (number, file) in values.iter().enumerate() {
            let mut more = Vec::new();
            if let Some(file) = file {
                more = vec!["--values", file];
            }
            let linted = lint(version, &more).unwrap();
            assert!(linted.is_ok(), "{version} {file:?}: {linted:?}");
            let text = render(version, &more).unwrap();
            let text = text.unwrap_or_else(|error| panic!("{version} {file:?}: {error}"));
            let path = folder.path().join(format!("{version}-{number}.yaml"));
            fs::write(&path, text).unwrap();
            rendered.push(path);
        }
        let python = tools::python(&python_folder).unwrap().into_std();
        let program = Path::new(python.get_program()).with_file_name("kubernetes-validate");
        let mut validate = Command::new(program);
        let minor = version.rsplit_once('.').unwrap().0;
        validate.args(["--strict", "-k", minor]).args(&rendered);
        let output = validate.stdin(Stdio::null()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert!(output.status.success(), "{version}: {text}");
        // Kinds and versions that were removed are warnings only.
        let is_known = |line: &&str| {
            line.starts_with("WARN")
                && !UNKNOWN_KINDS
                    .iter()
                    .any(|kind| line.contains(&format!("kind {kind} ")))
        };
        let warnings: Vec<_> = text.lines().filter(is_known).collect();
        assert!(warnings.is_empty(), "{version}: {warnings:?}");
    }
}

#[test]
fn the_flags_of_the_pods_are_flags_of_the_program() {
    let reference = fs::read_to_string(tools::repository_root().join("docs/CLI.md")).unwrap();
    let section = |title: &str| {
        let from = reference.split_once(title).unwrap().1;
        from.split_once("\n#").unwrap().0.to_owned()
    };
    let global = section("\n## Options of all commands\n");
    let manifests = Manifests::of("discovery: {mode: kubernetes}").unwrap();
    let nodes = Manifests::of("nodeGroups: {nodes: {zone: a, labels: {tier: x}}}").unwrap();
    for (arguments, title) in [
        (
            manifests.arguments("Deployment", ENGINE),
            "\n## `hotswap serve`\n",
        ),
        (
            manifests.arguments("Deployment", NODES),
            "\n### `hotswap node run`\n",
        ),
        (
            nodes.arguments("Deployment", NODES),
            "\n### `hotswap node run`\n",
        ),
    ] {
        let options = section(title) + &global;
        let flags = arguments
            .iter()
            .filter(|argument| argument.starts_with("--"));
        for flag in flags {
            let name = flag.split('=').next().unwrap();
            assert!(
                options.contains(&format!("`{name} "))
                    || options.contains(&format!("`{name}`"))
                    || options.contains(&format!(", {name} ")),
                "{title}: no {name}"
            );
        }
    }
}

#[test]
fn a_group_has_what_it_says_itself_and_the_rest_from_node() {
    let manifests = Manifests::of(&read("ci/groups-values.yaml")).unwrap();
    let name = |group: &str| format!("rel-distributed-kernel-{group}");
    assert!(
        manifests.find("Deployment", NODES).is_none(),
        "null removes a group"
    );
    let state = &manifests.get("StatefulSet", &name("state"))["spec"];
    assert_eq!(state["replicas"], 4);
    assert_eq!(state["template"]["metadata"]["labels"]["team"], "platform");
    assert_eq!(
        state["volumeClaimTemplates"][0]["spec"]["storageClassName"],
        "fast"
    );
    let image = &state["template"]["spec"]["containers"][0]["image"];
    let image = image.as_str().unwrap();
    assert!(
        image.starts_with("registry.example:5000/team/hotswap@sha256:0123"),
        "{image}"
    );
    assert!(manifests.find("DaemonSet", &name("edge")).is_some());
    // A number of pods in the workload would undo what the autoscaler has decided.
    let web = &manifests.get("Deployment", &name("web"))["spec"];
    assert!(web.get("replicas").is_none());
    let scaler = &manifests.get("HorizontalPodAutoscaler", &name("web"))["spec"];
    assert_eq!(scaler["minReplicas"], 3);
    assert_eq!(scaler["maxReplicas"], 10);
    assert_eq!(scaler["scaleTargetRef"]["name"], name("web"));
    assert_eq!(scaler["metrics"].as_array().unwrap().len(), 3);
    assert_eq!(
        scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"],
        300
    );
    let arguments = manifests.arguments("Deployment", &name("web"));
    for argument in [
        "--environment=production",
        "--zone=eu-1",
        "--label=tier=web",
    ] {
        assert!(
            arguments.iter().any(|one| one == argument),
            "{argument}: {arguments:?}"
        );
    }
    let budget = &manifests.get("PodDisruptionBudget", &name("edge"))["spec"];
    assert_eq!(budget["maxUnavailable"], "10%");
    assert!(budget.get("minAvailable").is_none());
}

#[test]
fn selectors_are_small_and_services_find_their_pods() {
    let manifests = Manifests::of("").unwrap();
    for (name, component) in [(ENGINE, "engine"), (NODES, "node-nodes")] {
        let selector = json!({
            "app.kubernetes.io/name": "distributed-kernel",
            "app.kubernetes.io/instance": "rel",
            "app.kubernetes.io/component": component,
        });
        let workload = &manifests.get("Deployment", name)["spec"];
        assert_eq!(workload["selector"]["matchLabels"], selector);
        assert_eq!(manifests.get("Service", name)["spec"]["selector"], selector);
        let labels = workload["template"]["metadata"]["labels"]
            .as_object()
            .unwrap();
        for (key, value) in selector.as_object().unwrap() {
            assert_eq!(labels.get(key), Some(value));
        }
        assert!(
            !labels.contains_key("helm.sh/chart"),
            "another chart restarts nothing"
        );
    }
}

#[test]
fn pods_restart_when_their_configuration_or_tokens_change_and_only_then() {
    let checksums = |values: &str| {
        let manifests = Manifests::of(values).unwrap();
        let of = |name: &str, key: &str| {
            let pod = &manifests.get("Deployment", name)["spec"]["template"]["metadata"];
            pod["annotations"][key]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        [
            of(ENGINE, "checksum/config"),
            of(ENGINE, "checksum/tokens"),
            of(NODES, "checksum/tokens"),
        ]
    };
    let tokens = "auth: {apiToken: 0123456789abcdef, nodeToken: fedcba9876543210}";
    let first = checksums(tokens);
    assert_eq!(first, checksums(tokens));
    let config = checksums(&format!("{tokens}\nengine: {{config: 'corsOrigins = []'}}"));
    assert_ne!(first[0], config[0]);
    assert_eq!(first[1..], config[1..]);
    let others = checksums("auth: {apiToken: 0123456789abcdef, nodeToken: 0123456789fedcba}");
    assert_eq!(first[0], others[0]);
    assert!(first[1] != others[1] && first[2] != others[2]);
    // Generated once in a rendering: what the pods carry is of what the secret holds.
    let generated = Manifests::of("").unwrap();
    let secret = generated.get("Secret", "rel-distributed-kernel-tokens");
    let held = secret["data"]["node-token"].as_str().unwrap();
    let token = String::from_utf8(STANDARD.decode(held).unwrap()).unwrap();
    let given = checksums(&format!("auth: {{nodeToken: '{token}'}}"));
    let pod = &generated.get("Deployment", NODES)["spec"]["template"]["metadata"];
    assert_eq!(pod["annotations"]["checksum/tokens"], given[2]);
}

#[test]
fn the_engine_has_rights_only_where_it_watches_kubernetes() {
    let manifests = Manifests::of("").unwrap();
    assert!(!manifests.has("Role") && !manifests.has("RoleBinding"));
    let engine = |manifests: &Manifests| {
        let pod = &manifests.get("Deployment", ENGINE)["spec"]["template"]["spec"];
        pod["automountServiceAccountToken"].clone()
    };
    assert_eq!(engine(&manifests), false);
    let manifests = Manifests::of("discovery: {mode: kubernetes}").unwrap();
    assert_eq!(engine(&manifests), true);
    let rules = &manifests.get("Role", ENGINE)["rules"];
    let slices = json!({
        "apiGroups": ["discovery.k8s.io"],
        "resources": ["endpointslices"],
        "verbs": ["list", "watch"],
    });
    let pods = json!({ "apiGroups": [""], "resources": ["pods"], "verbs": ["list"] });
    assert_eq!(*rules, json!([slices, pods]));
    let manifests = Manifests::of("discovery: {mode: kubernetes, podLabels: false}").unwrap();
    assert_eq!(manifests.get("Role", ENGINE)["rules"], json!([slices]));
    let node = &manifests.get("Deployment", NODES)["spec"]["template"]["spec"];
    assert_eq!(node["automountServiceAccountToken"], false);
}

#[test]
fn pods_keep_the_restricted_security_standard() {
    let manifests = Manifests::of("").unwrap();
    for name in [ENGINE, NODES] {
        let pod = &manifests.get("Deployment", name)["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"],
            "RuntimeDefault"
        );
        let container = &pod["containers"][0]["securityContext"];
        assert_eq!(container["readOnlyRootFilesystem"], true);
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(container["capabilities"]["drop"], json!(["ALL"]));
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert!(
                pod["containers"][0][probe]["httpGet"].is_object(),
                "{name}: {probe}"
            );
        }
    }
}

/// The template of each workload's pods, by kind and name, of a chart in a folder.
fn pod_templates(chart: &Path, values: &str) -> BTreeMap<String, Value> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), values).unwrap();
    let arguments = [
        "template",
        "rel",
        chart.to_str().unwrap(),
        "--kube-version=1.30.14",
        "--values",
        file.path().to_str().unwrap(),
    ];
    let text = helm(&arguments).unwrap().unwrap();
    let objects = read_yaml(&text).unwrap().into_iter();
    let workloads = objects.filter(|object| object["spec"]["template"].is_object());
    let templates = workloads.map(|workload| {
        let name = format!("{} {}", workload["kind"], workload["metadata"]["name"]);
        (name, workload["spec"]["template"].clone())
    });
    templates.collect()
}

/// All kinds of workloads, with everything of which pods have a checksum.
const WORKLOADS: &str = "
image: {repository: registry.example/hotswap}
auth: {apiToken: 0123456789abcdef, nodeToken: fedcba9876543210}
redis: {enabled: true}
discovery: {mode: kubernetes}
nodeGroups:
  edge: {kind: DaemonSet, environment: edge}
  state: {kind: StatefulSet, environment: state}
";

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => {
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }
}

#[test]
fn another_version_of_the_chart_alone_restarts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("distributed-kernel");
    copy_folder(&chart(), &other);
    let of_this = read("Chart.yaml");
    let of_other = of_this.replacen("\nversion: 0.1.0\n", "\nversion: 0.1.1\n", 1);
    assert_ne!(of_this, of_other);
    fs::write(other.join("Chart.yaml"), of_other).unwrap();
    let templates = pod_templates(&chart(), WORKLOADS);
    assert_eq!(templates.len(), 5, "{:?}", templates.keys());
    assert_eq!(templates, pod_templates(&other, WORKLOADS));
}

#[test]
fn pods_restart_for_the_tokens_and_the_configuration_that_they_have() {
    let templates = pod_templates(&chart(), WORKLOADS);
    let changed_by = |from: &str, to: &str| {
        let values = WORKLOADS.replacen(from, to, 1);
        assert_ne!(values, WORKLOADS);
        let others = pod_templates(&chart(), &values);
        let changed = templates
            .iter()
            .filter(|(name, template)| others[*name] != **template);
        changed.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let engine = format!(r#""Deployment" "{ENGINE}""#);
    let by_api_token = changed_by("0123456789abcdef", "0123456789abcdeg");
    assert_eq!(by_api_token, std::slice::from_ref(&engine));
    let by_configuration = changed_by("mode: kubernetes", "mode: kubernetes, podLabels: false");
    assert_eq!(by_configuration, std::slice::from_ref(&engine));
    let by_node_token = changed_by("fedcba9876543210", "fedcba9876543211");
    let of_nodes = templates.keys().filter(|name| !name.contains("redis"));
    assert_eq!(by_node_token, of_nodes.cloned().collect::<Vec<_>>());
}

/// A label of a pod has at most 63 characters, and a StatefulSet gives its pods one that ends with its
/// revision.
#[test]
fn the_longest_names_leave_room_for_what_kubernetes_adds() {
    const REVISION: usize = "-6b8c9d7f54".len();
    let values = "
fullnameOverride: a-name-that-is-longer-than-a-prefix-of-ours
nodeGroups: {a-group-with-18-ch: {kind: StatefulSet, environment: qa}}
";
    let manifests = Manifests::of(values).unwrap();
    let groups = manifests.all("StatefulSet");
    let names: Vec<_> = groups
        .map(|group| group["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 1);
    assert!(names[0].ends_with("-a-group-with-18-ch"), "{names:?}");
    assert!(names[0].len() + REVISION <= 63, "{names:?}");
    for service in manifests.all("Service") {
        let name = service["metadata"]["name"].as_str().unwrap();
        assert!(name.len() <= 63, "{name}");
    }
}

#[test]
fn all_ports_listen_on_the_address_of_the_values() {
    for (values, address) in [("{}", "0.0.0.0"), ("listenAddress: '::'", "[::]")] {
        let manifests = Manifests::of(values).unwrap();
        for (name, flags) in [
            (ENGINE, &["--listen=", ":5000"][..]),
            (NODES, &["--data=", ":8080", "--control=", ":8081"]),
        ] {
            let arguments = manifests.arguments("Deployment", name);
            for flag in flags.chunks(2) {
                let expected = format!("{}{address}{}", flag[0], flag[1]);
                assert!(arguments.contains(&expected), "{expected}: {arguments:?}");
            }
        }
    }
}

#[test]
fn every_pod_gets_the_secrets_for_the_registry() {
    let values = "
global: {imagePullSecrets: [mirror]}
image: {pullSecrets: [registry]}
redis: {enabled: true}
";
    let manifests = Manifests::of(values).unwrap();
    let expected = json!([{ "name": "mirror" }, { "name": "registry" }]);
    for (kind, name) in [
        ("Deployment", ENGINE),
        ("Deployment", NODES),
        ("StatefulSet", "rel-redis"),
    ] {
        let pod = &manifests.get(kind, name)["spec"]["template"]["spec"];
        assert_eq!(pod["imagePullSecrets"], expected, "{name}");
    }
}

#[test]
fn an_issuer_of_cert_manager_is_an_annotation_and_nothing_else_is_assumed() {
    let manifests = Manifests::of(&read("ci/exposed-values.yaml")).unwrap();
    let ingress = manifests.get("Ingress", ENGINE);
    let annotations = &ingress["metadata"]["annotations"];
    assert_eq!(annotations["cert-manager.io/cluster-issuer"], "letsencrypt");
    assert_eq!(ingress["spec"]["ingressClassName"], "public");
    assert_eq!(
        ingress["spec"]["tls"][0]["secretName"],
        format!("{ENGINE}-tls")
    );
    let modules = manifests.get("Ingress", NODES);
    assert!(modules["spec"].get("ingressClassName").is_none());
    assert_eq!(
        modules["metadata"]["annotations"],
        json!({ "cert-manager.io/issuer": "ours" })
    );
    let route = &manifests.get("HTTPRoute", NODES)["spec"];
    assert_eq!(
        route["rules"][0]["backendRefs"][0],
        json!({ "name": NODES, "port": 80 })
    );
}

/// The engine has no prefix of its own. A node looks for the module in the path, which must reach it whole.
#[test]
fn a_gateway_removes_the_path_of_the_engine_and_leaves_that_of_modules() {
    let values = "
engine: {httpRoute: {enabled: true, parentRefs: [{name: public}], path: /hotswap}}
node: {httpRoute: {enabled: true, parentRefs: [{name: public}], path: /hello}}
";
    let manifests = Manifests::of(values).unwrap();
    let rule = |name: &str| manifests.get("HTTPRoute", name)["spec"]["rules"][0].clone();
    let (engine, nodes) = (rule(ENGINE), rule(NODES));
    assert_eq!(engine["matches"][0]["path"]["value"], "/hotswap");
    let path = json!({ "type": "ReplacePrefixMatch", "replacePrefixMatch": "/" });
    let rewrite = json!({ "type": "URLRewrite", "urlRewrite": { "path": path } });
    assert_eq!(engine["filters"], json!([rewrite]));
    assert_eq!(nodes["matches"][0]["path"]["value"], "/hello");
    assert!(nodes.get("filters").is_none());
    let manifests = Manifests::of(&read("ci/exposed-values.yaml")).unwrap();
    let rule = &manifests.get("HTTPRoute", ENGINE)["spec"]["rules"][0];
    assert!(rule.get("filters").is_none(), "{rule}");
}

/// Also those of the subchart, which does not see these values.
#[test]
fn common_labels_and_annotations_are_on_every_object() {
    let common = "
commonLabels: {owner: platform}
commonAnnotations: {example.org/ticket: OPS-1}
redis: {auth: {existingSecret: ''}}
extraObjects: []
";
    let mut kinds = BTreeSet::new();
    for file in value_files().unwrap() {
        // Later values go over earlier ones, and a document has each key once.
        let common_file = tempfile::NamedTempFile::new().unwrap();
        fs::write(common_file.path(), common).unwrap();
        let files = [file.as_path(), common_file.path()];
        let files = files.map(|path| path.to_str().unwrap());
        let more = ["--values", files[0], "--values", files[1]];
        let text = render(VERSIONS[2], &more).unwrap().unwrap();
        for object in read_yaml(&text).unwrap() {
            let (kind, metadata) = (&object["kind"], &object["metadata"]);
            let name = format!("{}: {kind} {}", files[0], metadata["name"]);
            assert_eq!(metadata["labels"]["owner"], "platform", "{name}");
            let annotations = &metadata["annotations"];
            assert_eq!(annotations["example.org/ticket"], "OPS-1", "{name}");
            kinds.insert(kind.as_str().unwrap().to_owned());
        }
    }
    assert!(kinds.len() > 15, "{kinds:?}");
    let with_redis = Manifests::of("redis: {enabled: true}").unwrap();
    for kind in ["ConfigMap", "Secret", "Service", "StatefulSet"] {
        assert!(with_redis.find(kind, "rel-redis").is_some(), "{kind}");
    }
}

/// Where the README says that the authority is, a pod has it.
#[test]
fn a_command_in_the_pod_of_the_engine_finds_the_authority() {
    let readme = read("README.md");
    assert!(readme.contains("hotswap --ca /etc/hotswap-tls/ca.crt"));
    let manifests = Manifests::of(&read("ci/tls-values.yaml")).unwrap();
    let pod = &manifests.get("Deployment", ENGINE)["spec"]["template"]["spec"];
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let mount = mounts
        .iter()
        .find(|mount| mount["mountPath"] == "/etc/hotswap-tls");
    assert_eq!(mount.unwrap()["name"], "tls");
    let volumes = pod["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|volume| volume["name"] == "tls");
    // Without items: the whole secret, with `ca.crt`.
    let secret = json!({ "secretName": "hotswap-engine-tls" });
    assert_eq!(volume.unwrap()["secret"], secret);
}

#[test]
fn policies_open_the_control_port_to_the_engine_and_to_scrapers_only() {
    let manifests = Manifests::of(&read("ci/kubernetes-discovery-values.yaml")).unwrap();
    let nodes = &manifests.get("NetworkPolicy", NODES)["spec"];
    let control = &nodes["ingress"][1];
    assert_eq!(control["ports"][0]["port"], "control");
    let from = control["from"].as_array().unwrap();
    let engine = &from[0]["podSelector"]["matchLabels"];
    assert_eq!(engine["app.kubernetes.io/component"], "engine");
    assert_eq!(from.len(), 2, "and the scrapers of metricsFrom");
    let engine = &manifests.get("NetworkPolicy", ENGINE)["spec"];
    assert_eq!(engine["policyTypes"], json!(["Ingress", "Egress"]));
    let ports = engine["egress"].to_string();
    assert!(ports.contains("6443") && ports.contains("9090"), "{ports}");
    let callers = engine["ingress"][0]["from"].as_array().unwrap();
    assert_eq!(callers.len(), 3, "the release, apiFrom and metricsFrom");
}

/// An empty selector of namespaces is every pod of the cluster. Each of our files of values may be
/// the one that somebody begins with.
#[test]
fn no_policy_lets_every_namespace_in_unless_the_values_say_so() {
    let mut scraped = 0;
    for file in value_files().unwrap() {
        let manifests = Manifests::of(&fs::read_to_string(&file).unwrap()).unwrap();
        for policy in manifests.all("NetworkPolicy") {
            let ingress = policy["spec"]["ingress"].to_string();
            let is_open = ingress.contains(r#""namespaceSelector":{}"#);
            assert!(!is_open, "{}: {ingress}", file.display());
        }
        scraped += usize::from(manifests.has("ServiceMonitor"));
    }
    assert!(scraped >= 4, "only {scraped} files with a ServiceMonitor");
    let manifests = Manifests::of(&read("values-production.yaml")).unwrap();
    let control = &manifests.get("NetworkPolicy", NODES)["spec"]["ingress"][1]["from"];
    let prometheus = &control[1]["podSelector"]["matchLabels"];
    assert_eq!(prometheus["app.kubernetes.io/name"], "prometheus");
    // A call of the API is let in from where `apiFrom` says, and scrapes do not widen that.
    let values = "networkPolicy: {apiFrom: [{podSelector: {}}]}";
    let manifests = Manifests::of(values).unwrap();
    let callers = &manifests.get("NetworkPolicy", ENGINE)["spec"]["ingress"][0]["from"];
    assert_eq!(callers.as_array().unwrap().len(), 2, "{callers}");
}

#[test]
fn engines_reach_a_store_at_the_ports_of_its_address() {
    let ports_of = |url: &str| {
        let manifests = Manifests::of(&format!("externalRedis: {{url: '{url}'}}")).unwrap();
        let policy = manifests.get("NetworkPolicy", ENGINE);
        let rules = policy["spec"]["egress"].as_array().unwrap().clone();
        let is_open = |rule: &&Value| rule["to"].is_null();
        let ports = rules.iter().filter(is_open).flat_map(|rule| {
            let ports = rule["ports"].as_array().unwrap();
            ports.iter().map(|port| port["port"].as_u64().unwrap())
        });
        ports.filter(|port| *port != 53).collect::<Vec<_>>()
    };
    assert_eq!(ports_of("redis://redis"), [6379, 26379]);
    assert_eq!(ports_of("redis://10.0.0.1:6399"), [6379, 26379, 6399]);
    assert_eq!(
        ports_of("rediss+cluster://a:7000,b:7001,[::1]:7002/0"),
        [6379, 26379, 7000, 7001, 7002]
    );
    assert_eq!(
        ports_of("redis+sentinel://a:26379/main"),
        [6379, 26379],
        "each once"
    );
}

/// Nodes of two environments in one namespace are told apart by a label that the scrape adds.
#[test]
fn series_and_spans_of_nodes_get_the_environment_of_their_group() {
    let values = "
nodeGroups:
  qa: {environment: qa}
  chosen: {labels: {tier: web}}
networkPolicy: {enabled: false}
metrics: {serviceMonitor: {enabled: true, relabelings: [{targetLabel: cluster, replacement: eu}]}}
otlp: {endpoint: 'http://collector:4317'}
";
    let manifests = Manifests::of(values).unwrap();
    let own = json!({ "targetLabel": "cluster", "replacement": "eu" });
    for (group, environment) in [
        ("engine", None),
        ("chosen", None),
        ("nodes", Some("production")),
        ("qa", Some("qa")),
    ] {
        let name = format!("rel-distributed-kernel-{group}");
        let monitor = &manifests.get("ServiceMonitor", &name)["spec"]["endpoints"][0];
        let added = environment.map(|environment| {
            json!({
                "action": "replace", "targetLabel": "environment", "replacement": environment,
            })
        });
        let expected: Vec<_> = added.into_iter().chain([own.clone()]).collect();
        assert_eq!(monitor["relabelings"], json!(expected), "{group}");
        let pod = &manifests.get("Deployment", &name)["spec"]["template"]["spec"];
        let variables = pod["containers"][0]["env"].as_array().unwrap();
        let mut variables = variables.iter();
        let attributes = variables.find(|one| one["name"] == "OTEL_RESOURCE_ATTRIBUTES");
        let of_pod = "k8s.namespace.name=ns,k8s.pod.name=$(POD_NAME)";
        let expected = match environment {
            Some(environment) => format!("{of_pod},deployment.environment.name={environment}"),
            None => of_pod.to_owned(),
        };
        assert_eq!(attributes.unwrap()["value"], expected, "{group}");
    }
}

#[test]
fn certificates_reach_both_sides_and_probes_use_https() {
    let manifests = Manifests::of(&read("ci/tls-values.yaml")).unwrap();
    let engine = manifests.arguments("Deployment", ENGINE);
    for argument in [
        "--tls-cert=/etc/hotswap-tls/tls.crt",
        "--tls-client-ca=/etc/hotswap-node-ca/ca.crt",
        "--ca=/etc/hotswap-node-ca/ca.crt",
    ] {
        assert!(engine.iter().any(|one| one == argument), "{argument}");
    }
    let nodes = manifests.arguments("Deployment", NODES);
    let url = format!("--engine=https://{ENGINE}.ns.svc:5000");
    for argument in [
        &*url,
        "--tls-key=/etc/hotswap-tls/tls.key",
        "--ca=/etc/hotswap-engine-ca/ca.crt",
        "--tls-client-ca=/etc/hotswap-engine-ca/ca.crt",
    ] {
        assert!(nodes.iter().any(|one| one == argument), "{argument}");
    }
    for name in [ENGINE, NODES] {
        let workload = manifests.get("Deployment", name);
        let container = &workload["spec"]["template"]["spec"]["containers"][0];
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert_eq!(container[probe]["httpGet"]["scheme"], "HTTPS", "{probe}");
        }
    }
    for name in [ENGINE, NODES] {
        let port = &manifests.get("Service", name)["spec"]["ports"][0];
        assert_eq!(port["appProtocol"], "https", "{name}");
    }
    let plain = Manifests::of("{}").unwrap();
    for name in [ENGINE, NODES] {
        let port = &plain.get("Service", name)["spec"]["ports"][0];
        assert_eq!(port["appProtocol"], "http", "{name}");
    }
    let workload = plain.get("Deployment", ENGINE);
    let container = &workload["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["readinessProbe"]["httpGet"]["scheme"],
        json!(null)
    );
}

/// What users add is there, with templates in it rendered.
#[test]
fn environment_variables_volumes_and_objects_of_users_are_in_the_rendering() {
    let manifests = Manifests::of(&read("ci/extras-values.yaml")).unwrap();
    let has = |list: &serde_json::Value, wanted: serde_json::Value| {
        let all = list.as_array().unwrap();
        assert!(all.contains(&wanted), "{wanted}: {list}");
    };
    let pod = |name: &str| manifests.get("Deployment", name)["spec"]["template"]["spec"].clone();
    let (engine, node) = (pod("hs-engine"), pod("hs-nodes"));
    let variable = json!({ "name": "RELEASE", "value": "rel" });
    for pod in [&engine, &node] {
        has(&pod["containers"][0]["env"], variable.clone());
    }
    let container = &engine["containers"][0];
    has(
        &container["args"],
        json!("--cors-origin=https://other.example.org"),
    );
    has(
        &container["envFrom"],
        json!({ "configMapRef": { "name": "more" } }),
    );
    let secret = json!({ "secretName": "rel-jwt" });
    has(
        &engine["volumes"],
        json!({ "name": "jwt", "secret": secret }),
    );
    let mount = json!({ "name": "jwt", "mountPath": "/etc/jwt", "readOnly": true });
    has(&container["volumeMounts"], mount);
    assert_eq!(engine["initContainers"][0]["name"], "wait");
    assert_eq!(engine["containers"][1]["name"], "shipper");
    assert_eq!(engine["priorityClassName"], "high");
    has(&node["volumes"], json!({ "name": "more", "emptyDir": {} }));
    let mount = json!({ "name": "more", "mountPath": "/more" });
    has(&node["containers"][0]["volumeMounts"], mount);
    assert_eq!(
        manifests.get("ConfigMap", "rel-more")["data"]["key"],
        "value"
    );
    assert!(manifests.find("ConfigMap", "hs-text").is_some());
}
