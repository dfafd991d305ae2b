//! What a report of a fault has.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use hotswap_core::Digest;
use serde_json::Value;

use crate::server::{Fleet, Server};
use crate::support::{Dev, run};

/// The files of a bundle, by name.
fn unpack(bundle: &Path) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let mut tar = Command::new("tar");
    let tar = tar
        .arg("-xzf")
        .arg(bundle)
        .arg("--directory")
        .arg(folder.path());
    assert!(tar.status().unwrap().success());
    let files = fs::read_dir(folder.path().join("hotswap-debug")).unwrap();
    let files = files.map(|file| {
        let file = file.unwrap();
        let content = fs::read_to_string(file.path()).unwrap();
        (file.file_name().into_string().unwrap(), content)
    });
    files.collect()
}

#[test]
fn a_bundle_has_what_a_report_of_a_fault_needs_and_no_secret() {
    let dev = Dev::start(&["--rate", "0"]);
    let deploy = [
        "deploy",
        "hello@2.0.0",
        "-e",
        "production",
        "-s",
        "direct",
        "--wait",
    ];
    let id = dev.json(&deploy)["id"].as_str().unwrap().to_owned();
    let policies = dev.folder.path().join("policies.toml");
    fs::write(&policies, "[environments.production]\ndeadline = \"2h\"\n").unwrap();
    dev.json(&["apply", "-f", policies.to_str().unwrap()]);
    let cordon = ["node", "cordon", "prod-1", "--reason", "a new disk"];
    assert_eq!(dev.run(&cordon).code, Some(0));
    let bundle = ["debug", "bundle", "--output", "report.tar.gz"];
    let with_deployment = [&bundle[..], &["--deployment", &id]].concat();
    let written = dev.run(&with_deployment);
    assert_eq!(written.code, Some(0), "{written:?}");
    assert_eq!(written.out, "report.tar.gz\n");
    assert!(!written.err.contains("without"), "{written:?}");
    let file = dev.folder.path().join("report.tar.gz");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let files = unpack(&file);
    let manifest: Value = serde_json::from_str(&files["manifest.json"]).unwrap();
    assert_eq!(manifest["deployment"], *id);
    assert_eq!(manifest["missing"].as_array().unwrap().len(), 0);
    let named = manifest["files"].as_array().unwrap();
    assert_eq!(named.len(), files.len() - 1);
    for entry in named {
        let content = &files[entry["name"].as_str().unwrap()];
        let digest = Digest::of(content.as_bytes()).to_string();
        assert_eq!(entry["digest"], *digest, "{entry}");
    }
    assert!(files["engine.log"].contains("node registered"), "{files:?}");
    assert!(files["metrics.txt"].contains("hotswap_deployments"));
    assert!(files["nodes.json"].contains("prod-1"));
    let engine: Value = serde_json::from_str(&files["engine.json"]).unwrap();
    assert_eq!(
        engine["configuration"]["retention"]["deploymentAge"],
        "30days"
    );
    let journal: Vec<Value> = files["journal.jsonl"]
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(journal[0]["body"]["type"], "requested");
    assert_eq!(journal[journal.len() - 1]["body"]["type"], "ended");

    // What people have set through the API is not in the configuration.
    assert!(files["nodes.json"].contains("a new disk"), "{files:?}");
    let policy: Value = serde_json::from_str(&files["policy-production.json"]).unwrap();
    assert_eq!(policy["source"], "api", "{policy}");
    assert_eq!(policy["policy"]["deadline"], 7_200_000, "{policy}");
    assert!(policy["changedBy"].is_string(), "{policy}");
    let environment: Value = serde_json::from_str(&files["environment-events.json"]).unwrap();
    let events = environment["events"].to_string();
    assert!(events.contains("a new disk"), "{environment}");
    let deployment: Value = serde_json::from_str(&files["deployment.json"]).unwrap();
    let nodes = deployment["nodes"].as_array().unwrap();
    assert!(!nodes.is_empty(), "{deployment}");
    for node in nodes {
        let name = format!("node-{}.metrics.txt", node["id"].as_str().unwrap());
        let metrics = &files[&name];
        assert!(metrics.contains("hotswap_node_requests"), "{metrics}");
        let log = &files[&format!("node-{}.log", node["id"].as_str().unwrap())];
        assert!(log.contains("node started"), "{log}");
    }

    for token in ["token", "node-token"] {
        let token = fs::read_to_string(dev.folder.path().join(".hotswap/dev").join(token)).unwrap();
        for (name, content) in &files {
            assert!(!content.contains(token.trim()), "{name}");
        }
    }
    let again = dev.run(&bundle);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(
        again.err.contains("choose another file with --output"),
        "{again:?}"
    );
}

/// What no file of a bundle may have. Each is long enough that nothing else has it by chance.
const SECRETS: [&str; 14] = [
    "s3cret-of-the-api-token",
    "s3cret-of-the-node-token",
    "s3cret-of-jwt-0123456789abcdef-0123456789abcdef",
    "s3cret-of-the-registry-token",
    "s3cret-of-the-registry-password",
    "s3cret-of-the-metric-header",
    "s3cret-of-settings-api-key",
    "s3cret-of-settings-tokens",
    "s3cret-of-a-user-in-a-url",
    "s3cret-of-a-query",
    "s3cret-of-a-header",
    "s3cret-of-a-command-line",
    "s3cret-of-a-variable",
    "s3cret-of-a-key-in-pem-form",
];

/// All of them are in files that the configuration names, or in the configuration itself.
const CONFIGURATION: &str = r#"
tokenFile = "token"
nodeTokenFile = "node-token"

[jwt]
algorithm = "HS256"
secretFile = "jwt"
issuer = "i"
audience = "a"

[[discovery]]
name = "probe"
backend = "probe.wasm"
service = "count"
origins = ["http://registry.invalid:80"]

[discovery.secrets]
token = "registry-token"
password = "registry-password"

[discovery.settings]
apiKey = "s3cret-of-settings-api-key"
tokens = ["s3cret-of-settings-tokens", "another"]
url = "https://ada:s3cret-of-a-user-in-a-url@registry.invalid/nodes?sig=s3cret-of-a-query"

[[discovery]]
name = "texts"
backend = "probe.wasm"
service = "count"
origins = ["http://registry.invalid:80"]

[discovery.settings]
url = """
X-Api-Key: s3cret-of-a-header
fetch --password s3cret-of-a-command-line
DB_PWD=s3cret-of-a-variable
"""

[[discovery]]
name = "keys"
backend = "probe.wasm"
service = "count"
origins = ["http://registry.invalid:80"]

[discovery.settings]
url = """
-----BEGIN PRIVATE KEY-----
s3cret-of-a-key-in-pem-form
-----END PRIVATE KEY-----
"""

[[metricProviders]]
name = "metrics"
kind = "prometheus"
url = "http://127.0.0.1:9"

[metricProviders.headers.authorization]
file = "metric-header"
"#;

#[test]
fn no_secret_of_a_configuration_is_in_a_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("hotswap.toml"), CONFIGURATION).unwrap();
    fs::write(path.join("probe.wasm"), hotswap_guests::DISCOVERY_PROBE).unwrap();
    let files = [
        "token",
        "node-token",
        "jwt",
        "registry-token",
        "registry-password",
        "metric-header",
    ];
    for (file, secret) in files.iter().zip(SECRETS) {
        fs::write(path.join(file), secret).unwrap();
    }
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "engine"];
    let engine = Server::start(path, &serve, "engine ready", "addr");
    let server = format!("http://{}", engine.addr);
    let bundle = [
        "--server",
        &server,
        "--token-file",
        "token",
        "debug",
        "bundle",
    ];
    let written = run(
        path,
        &[&bundle[..], &["--output", "report.tar.gz"]].concat(),
    );
    assert_eq!(written.code, Some(0), "{written:?}");
    let files = unpack(&path.join("report.tar.gz"));
    // What is shown of the source is there, and so is what says that something is not.
    let report: Value = serde_json::from_str(&files["engine.json"]).unwrap();
    let source = &report["configuration"]["discovery"][0];
    assert_eq!(source["service"], "count", "{report}");
    assert_eq!(source["settings"]["apiKey"], "(removed)", "{report}");
    assert_eq!(report["configuration"]["jwt"]["issuer"], "i", "{report}");
    for secret in SECRETS {
        for (name, content) in &files {
            assert!(!content.contains(secret), "{secret} is in {name}");
        }
    }
    engine.stop();
}

#[test]
fn a_bundle_names_the_nodes_that_could_not_be_asked() {
    let mut fleet = Fleet::start();
    fleet.upload("web");
    let deploy = ["deploy", "web@1.0.0", "-e", "qa", "-s", "direct", "--wait"];
    let id = fleet.json(&deploy)["id"].as_str().unwrap().to_owned();
    fleet.kill_second_node();
    let manifest = fleet.json(&["debug", "bundle", "--deployment", &id]);
    let missing = manifest["missing"].as_array().unwrap();
    assert_eq!(missing.len(), 2, "{manifest}");
    assert_eq!(missing[0]["name"], "node-n2.metrics.txt");
    let reason = missing[0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("cannot reach the node: "), "{reason}");
    assert_eq!(missing[1]["name"], "node-n2.log");
    let reason = missing[1]["reason"].as_str().unwrap();
    assert!(
        reason.contains("node 'n2' does not give its log: "),
        "{reason}"
    );
    let files = manifest["files"].as_array().unwrap();
    let has = |name: &str| files.iter().any(|file| file["name"] == name);
    assert!(has("node-n1.metrics.txt") && has("environment-events.json"));
    assert!(has("node-n1.log"));

    // Without a deployment, those that are named.
    let manifest = fleet.json(&[
        "debug", "bundle", "--node", "n1", "--node", "n3", "-o", "n.tar.gz",
    ]);
    let missing = manifest["missing"].as_array().unwrap();
    assert_eq!(missing.len(), 1, "{manifest}");
    assert_eq!(missing[0]["name"], "node-n3.log");
    let reason = missing[0]["reason"].as_str().unwrap();
    assert!(reason.contains("node 'n3' is not registered"), "{reason}");
    let files = unpack(&fleet.folder.path().join("n.tar.gz"));
    let log = &files["node-n1.log"];
    assert!(
        log.contains("node started") && log.contains("registered"),
        "{log}"
    );
    let token = fs::read_to_string(fleet.folder.path().join("engine/node-token")).unwrap();
    for (name, content) in &files {
        assert!(!content.contains(token.trim()), "{name}");
    }
}
