//! Several engines on a store that they share.

use std::process::Command;

use hotswap_tests::{RedisKind, RedisServer, tools};
use serde_json::{Value, json};

use crate::renderer::{Manifests, read};

const ENGINE: &str = "rel-distributed-kernel-engine";
const STORE: &str = "rel-redis";

/// The value of an environment variable of the engine.
fn variable(manifests: &Manifests, name: &str) -> Option<Value> {
    let pod = &manifests.get("Deployment", ENGINE)["spec"]["template"]["spec"];
    let variables = pod["containers"][0]["env"].as_array().unwrap();
    let mut variables = variables.iter();
    let found = variables.find(|variable| variable["name"] == name);
    found.map(|variable| variable["value"].clone())
}

/// The volume of the engine with this name.
fn volume(manifests: &Manifests, name: &str) -> Value {
    let pod = &manifests.get("Deployment", ENGINE)["spec"]["template"]["spec"];
    let volumes = pod["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|volume| volume["name"] == name);
    volume.unwrap_or_else(|| panic!("no {name}")).clone()
}

#[test]
fn with_a_store_there_are_three_engines_that_keep_nothing_of_their_own() {
    let manifests = Manifests::of(&read("ci/redis-values.yaml")).unwrap();
    let engine = &manifests.get("Deployment", ENGINE)["spec"];
    assert_eq!(engine["replicas"], 3);
    assert_eq!(engine["strategy"]["type"], "RollingUpdate");
    assert_eq!(engine["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    let pod = &engine["template"]["spec"];
    assert_eq!(
        pod["topologySpreadConstraints"].as_array().unwrap().len(),
        2
    );
    assert_eq!(volume(&manifests, "data")["emptyDir"], json!({}));
    assert!(!manifests.has("PersistentVolumeClaim"));
    let budget = &manifests.get("PodDisruptionBudget", ENGINE)["spec"];
    assert_eq!(budget["minAvailable"], 2);
    assert!(budget.get("maxUnavailable").is_none());

    let url = variable(&manifests, "HOTSWAP_STORE_URL");
    assert_eq!(url, Some(json!("redis://rel-redis.ns.svc:6379")));
    let secret = &volume(&manifests, "store")["secret"];
    assert_eq!(secret["secretName"], "valkey-password");
    assert!(manifests.find("Secret", STORE).is_none(), "there is one");
    let store = &manifests.get("StatefulSet", STORE)["spec"];
    let claim = &store["volumeClaimTemplates"][0]["spec"];
    assert_eq!(claim["storageClassName"], "fast");
    let service = &manifests.get("Service", STORE)["spec"]["selector"];
    assert_eq!(*service, store["selector"]["matchLabels"]);
    let policy = &manifests.get("NetworkPolicy", STORE)["spec"];
    assert_eq!(policy["podSelector"]["matchLabels"], *service);
    let peers = policy["ingress"][0]["from"].as_array().unwrap();
    assert_eq!(peers.len(), 1, "the engines alone");

    let alone = Manifests::of("").unwrap();
    let engine = &alone.get("Deployment", ENGINE)["spec"];
    assert_eq!(engine["replicas"], 1);
    assert_eq!(engine["strategy"]["type"], "Recreate");
    assert!(!alone.has("StatefulSet") && alone.has("PersistentVolumeClaim"));
    assert_eq!(variable(&alone, "HOTSWAP_STORE_URL"), None);
}

#[test]
fn an_autoscaler_decides_how_many_engines_use_a_server_that_is_there() {
    let manifests = Manifests::of(&read("ci/external-redis-values.yaml")).unwrap();
    let engine = &manifests.get("Deployment", ENGINE)["spec"];
    assert!(engine.get("replicas").is_none());
    let scaler = &manifests.get("HorizontalPodAutoscaler", ENGINE)["spec"];
    assert_eq!(scaler["scaleTargetRef"]["name"], ENGINE);
    assert_eq!(
        (&scaler["minReplicas"], &scaler["maxReplicas"]),
        (&json!(3), &json!(5))
    );
    assert_eq!(scaler["metrics"].as_array().unwrap().len(), 2);
    assert!(!manifests.has("StatefulSet"));
    let variable = |name: &str| variable(&manifests, name).unwrap();
    assert_eq!(variable("HOTSWAP_STORE_USERNAME"), "hotswap");
    assert_eq!(
        volume(&manifests, "store")["secret"]["secretName"],
        "redis-password"
    );
    let authority = volume(&manifests, "store-ca");
    assert_eq!(authority["secret"]["secretName"], "redis-ca");
    assert_eq!(
        variable("HOTSWAP_STORE_CA_FILE"),
        "/etc/hotswap-store-ca/ca.crt"
    );
    let ports = json!([{ "port": 6379, "protocol": "TCP" }, { "port": 26379, "protocol": "TCP" }]);
    let egress = &manifests.get("NetworkPolicy", ENGINE)["spec"]["egress"];
    let mut rules = egress.as_array().unwrap().iter();
    assert!(rules.any(|rule| rule["ports"] == ports), "{egress}");
}

#[test]
fn engines_take_the_server_of_the_chart_for_durable() {
    let manifests = Manifests::of("redis: {enabled: true}").unwrap();
    assert!(manifests.find("Secret", STORE).is_some());
    let config = &manifests.get("ConfigMap", STORE)["data"]["valkey.conf"];
    let config = config.as_str().unwrap();
    let mut arguments = vec!["--requirepass".to_owned(), "0123456789".to_owned()];
    for line in config.lines() {
        let (key, value) = line.split_once(' ').unwrap();
        if key != "port" && key != "dir" {
            let value = value.trim_matches('"');
            arguments.extend([format!("--{key}"), value.to_owned()]);
        }
    }
    let arguments: Vec<_> = arguments.iter().map(|argument| &**argument).collect();
    let server = RedisServer::start_with(RedisKind::Valkey, &arguments).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "0123456789\n").unwrap();
    let mut check = tools::hotswap().unwrap().into_std();
    let output = check
        .current_dir(folder.path())
        .args(["store", "check", "--json"])
        .env("HOTSWAP_STORE_URL", server.url())
        .env("HOTSWAP_STORE_PASSWORD_FILE", "password")
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{report}");
    assert_eq!(report["durable"], true, "{report}");
}

#[test]
fn the_password_of_the_server_is_on_no_command_line() {
    let manifests = Manifests::of("redis: {enabled: true}").unwrap();
    let pod = &manifests.get("StatefulSet", STORE)["spec"]["template"]["spec"];
    let command = pod["containers"][0]["command"].as_array().unwrap();
    let script = command[2].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    for path in ["config", "password", "run"] {
        std::fs::create_dir(at(path)).unwrap();
    }
    std::fs::write(at("config/valkey.conf"), "port 6379\n").unwrap();
    std::fs::write(at("password/password"), "p4ss w0rd\n").unwrap();
    let script = script
        .replace("/etc/valkey-password", at("password").to_str().unwrap())
        .replace("/etc/valkey", at("config").to_str().unwrap())
        .replace("/run/valkey", at("run").to_str().unwrap())
        .replace("exec valkey-server", "exec cat");
    let output = Command::new("sh").args(["-ec", &script]).output().unwrap();
    let started_with = String::from_utf8(output.stdout).unwrap();
    assert_eq!(started_with, "port 6379\nrequirepass \"p4ss w0rd\"\n");
}
