//! What a report of a fault has.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use hotswap_core::Digest;
use serde_json::Value;

use crate::server::Fleet;
use crate::support::Dev;

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

    let environment: Value = serde_json::from_str(&files["environment-events.json"]).unwrap();
    assert!(environment["events"].is_array(), "{environment}");
    let deployment: Value = serde_json::from_str(&files["deployment.json"]).unwrap();
    let nodes = deployment["nodes"].as_array().unwrap();
    assert!(!nodes.is_empty(), "{deployment}");
    for node in nodes {
        let name = format!("node-{}.metrics.txt", node["id"].as_str().unwrap());
        let metrics = &files[&name];
        assert!(metrics.contains("hotswap_node_requests"), "{metrics}");
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

#[test]
fn a_bundle_names_the_nodes_that_could_not_be_asked() {
    let mut fleet = Fleet::start();
    fleet.upload("web");
    let deploy = ["deploy", "web@1.0.0", "-e", "qa", "-s", "direct", "--wait"];
    let id = fleet.json(&deploy)["id"].as_str().unwrap().to_owned();
    fleet.kill_second_node();
    let manifest = fleet.json(&["debug", "bundle", "--deployment", &id]);
    let missing = manifest["missing"].as_array().unwrap();
    assert_eq!(missing.len(), 1, "{manifest}");
    assert_eq!(missing[0]["name"], "node-n2.metrics.txt");
    let reason = missing[0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("cannot reach the node: "), "{reason}");
    let files = manifest["files"].as_array().unwrap();
    let has = |name: &str| files.iter().any(|file| file["name"] == name);
    assert!(has("node-n1.metrics.txt") && has("environment-events.json"));
}
