//! Several engines on a store that they share.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::{env, fs};

use hotswap_tests::{RedisKind, RedisServer, read_yaml, tools};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::renderer::{Manifests, read, render_values};

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
    let cache = json!({ "sizeLimit": "8Gi" });
    assert_eq!(volume(&manifests, "data")["emptyDir"], cache);
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

/// The scripts of the server's pod, with folders of this machine, and without the server: the first one
/// prints its configuration instead.
struct StorePod {
    folder: TempDir,
    container: Value,
}

impl StorePod {
    fn new() -> Self {
        let manifests = Manifests::of("redis: {enabled: true}").unwrap();
        let pod = &manifests.get("StatefulSet", STORE)["spec"]["template"]["spec"];
        let pod = Self {
            folder: tempfile::tempdir().unwrap(),
            container: pod["containers"][0].clone(),
        };
        for path in ["config", "password", "run", "programs"] {
            fs::create_dir(pod.path(path)).unwrap();
        }
        fs::write(pod.path("config/valkey.conf"), "tcp-keepalive 60\n").unwrap();
        // Answers as the server does to a client with this password.
        let client = "#!/bin/sh\nif [ \"$REDISCLI_AUTH\" = \"$(cat \"$SERVER_PASSWORD\")\" ]; then echo PONG; \
                      else echo NOAUTH; fi\n";
        let program = pod.path("programs/valkey-cli");
        fs::write(&program, client).unwrap();
        fs::set_permissions(program, Permissions::from_mode(0o755)).unwrap();
        pod
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn set_password(&self, password: &str) {
        fs::write(self.path("password/password"), format!("{password}\n")).unwrap();
    }

    /// Starts the server: returns its configuration. It knows this password from then on.
    fn start(&self) -> String {
        fs::copy(self.path("password/password"), self.path("server")).unwrap();
        let output = self.run(&self.container["command"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn passes(&self, probe: &str) -> bool {
        self.run(&self.container[probe]["exec"]["command"])
            .status
            .success()
    }

    fn run(&self, command: &Value) -> Output {
        let script = command[2].as_str().unwrap();
        let at = |path: &str| self.path(path).to_str().unwrap().to_owned();
        let script = script
            .replace("/etc/valkey-password", &at("password"))
            .replace("/etc/valkey", &at("config"))
            .replace("/run/valkey", &at("run"))
            .replace("exec valkey-server", "exec cat");
        let mut path = vec![self.path("programs")];
        path.extend(env::split_paths(&env::var_os("PATH").unwrap()));
        Command::new("sh")
            .args(["-ec", &script])
            .env("PATH", env::join_paths(path).unwrap())
            .env("SERVER_PASSWORD", self.path("server"))
            .output()
            .unwrap()
    }
}

#[test]
fn the_password_of_the_server_is_on_no_command_line() {
    let pod = StorePod::new();
    pod.set_password("p4ss w0rd");
    assert_eq!(pod.start(), "tcp-keepalive 60\nrequirepass \"p4ss w0rd\"\n");
}

/// A password of the user's may have any character.
#[test]
fn the_server_has_the_password_of_the_secret_to_the_letter() {
    let pod = StorePod::new();
    for password in [r#"say "friend""#, r"back\slash\n", r"$HOME `id` %s 'x' #"] {
        pod.set_password(password);
        let config = pod.start();
        let file = pod.path("server.conf");
        fs::write(&file, &config).unwrap();
        let arguments = ["--include", file.to_str().unwrap()];
        let server = RedisServer::start_with(RedisKind::Valkey, &arguments).unwrap();
        let answer = server.command(&["AUTH", password]).unwrap();
        assert_eq!(answer, "+OK\r\n", "{password}: {config}");
        let answer = server.command(&["PING"]).unwrap();
        assert!(answer.starts_with("-NOAUTH"), "{password}: {answer}");
        assert!(pod.passes("livenessProbe"), "{password}");
    }
}

/// The server reads its password when it starts. Without a restart, engines would be locked out that
/// read a new one.
#[test]
fn a_server_whose_password_has_changed_is_restarted_and_serves_until_then() {
    let pod = StorePod::new();
    pod.set_password("the first password");
    pod.start();
    assert!(pod.passes("readinessProbe") && pod.passes("livenessProbe"));
    pod.set_password("the second password");
    assert!(pod.passes("readinessProbe"), "it has the first one");
    assert!(!pod.passes("livenessProbe"), "it must be restarted");
    pod.start();
    assert!(pod.passes("readinessProbe") && pod.passes("livenessProbe"));
}

/// What renders without a cluster makes a new password each time, and the server would be restarted
/// with each synchronisation.
#[test]
fn the_values_for_production_render_to_the_same_each_time() {
    let render = || {
        let text = render_values(&read("values-production.yaml"))
            .unwrap()
            .unwrap();
        read_yaml(&text).unwrap()
    };
    let first = render();
    assert_eq!(first, render());
    let mut secrets = first.iter().filter(|object| object["kind"] == "Secret");
    assert!(secrets.next().is_none());
}
