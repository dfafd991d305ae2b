//! Certificates, tokens and policies are read again.

use std::path::Path;

use hotswap_tests::Authority;
use rustix::process::Signal;
use serde_json::Value;

use super::{
    CA, ENGINE, ENGINE_TLS, NODE_TLS, certificates, client, roll_out, succeed, wait_for_node,
};
use crate::server::Server;
use crate::support::{Outcome, run, wait_for};

#[test]
fn certificates_and_tokens_are_read_again_without_a_restart() {
    let (folder, _) = certificates();
    let path = folder.path();
    std::fs::create_dir(path.join("engine")).unwrap();
    let first = "first-token-0123456789";
    std::fs::write(path.join("engine/token"), first).unwrap();
    let serve = [&ENGINE[..], &ENGINE_TLS, &["--token-file", "engine/token"]].concat();
    let engine = Server::start(path, &serve, "engine ready", "addr");
    let server = format!("https://{}", engine.addr);
    succeed(path, &server, &["node", "list"]);

    // A certificate of another authority, and another token.
    let other = Authority::new().unwrap();
    other.write(path, "ca").unwrap();
    other
        .issue(path, "engine", "engine.hotswap.internal")
        .unwrap();
    let second = "second-token-0123456789";
    std::fs::write(path.join("engine/token"), second).unwrap();
    engine.signal(Signal::HUP);
    wait_for("the new certificate and the new token are in use", || {
        let outcome = client(path, &server, &[&CA[..], &["node", "list"]].concat());
        (outcome.code == Some(0)).then_some(())
    });
    std::fs::write(path.join("old-token"), first).unwrap();
    let old = ["--server", &server, "--token-file", "old-token", "list"];
    let outcome = run(path, &[&old[..], &CA].concat());
    assert_eq!(outcome.code, Some(7), "{outcome:?}");

    // A broken file changes nothing, and is reported. No signal: the engine looks by itself.
    std::fs::write(path.join("engine.crt"), "half a certif").unwrap();
    wait_for("the file is reported", || {
        engine.log().contains("engine.crt").then_some(())
    });
    succeed(path, &server, &["node", "list"]);
    other
        .issue(path, "engine", "engine.hotswap.internal")
        .unwrap();

    // A configuration that is invalid changes nothing either; keys that need a restart are named.
    std::fs::write(path.join("hotswap.toml"), "no = \"key\"").unwrap();
    engine.signal(Signal::HUP);
    wait_for("the error is reported", || {
        engine.log().contains("cannot reload").then_some(())
    });
    std::fs::write(path.join("hotswap.toml"), "advertise = \"https://a:1\"").unwrap();
    engine.signal(Signal::HUP);
    wait_for("the key is named", || {
        engine.log().contains("need a restart").then_some(())
    });
    assert!(engine.log().contains("advertise"), "{}", engine.log());
    engine.stop();
}

/// A configuration with a key for signed tokens and a policy.
fn configuration(max_unavailable: u32) -> String {
    format!(
        "[jwt]\nalgorithm = \"HS256\"\nsecretFile = \"secret\"\nissuer = \"tests\"\n\
         audience = \"hotswap\"\n[environments.qa]\nmaxUnavailable = {max_unavailable}\n"
    )
}

/// Signs a token with the key as it is now, into a file.
fn sign(folder: &Path, file: &str) {
    let token = ["token", "--subject", "ada@example.org", "--role", "viewer"];
    let outcome = run(folder, &[&token[..], &["--expires", "15m"]].concat());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    std::fs::write(folder.join(file), outcome.out.trim()).unwrap();
}

#[test]
fn policies_keys_of_signed_tokens_and_the_node_token_are_read_again_on_sighup() {
    let (folder, authority) = certificates();
    let path = folder.path();
    std::fs::write(path.join("secret"), "0123456789abcdef".repeat(2)).unwrap();
    std::fs::write(path.join("hotswap.toml"), configuration(1)).unwrap();
    std::fs::create_dir(path.join("engine")).unwrap();
    let first = "first-node-token-0123456789";
    std::fs::write(path.join("node-token"), first).unwrap();
    let tokens = ["--node-token-file", "node-token"];
    let serve = [&ENGINE[..], &ENGINE_TLS, &CA, &tokens].concat();
    let engine = Server::start(path, &serve, "engine ready", "addr");
    let server = format!("https://{}", engine.addr);
    let node = ["node", "run", "-e", "qa", "--id", "n1", "--engine", &server];
    let ports = ["--data", "127.0.0.1:0", "--control", "127.0.0.1:0"];
    let rest = ["--data-dir", "n1", "--token-file", "node-token"];
    let args = [&node[..], &ports, &rest, &NODE_TLS, &CA].concat();
    let node = Server::start(path, &args, "node started", "control_addr");
    wait_for_node(path, &server);
    let get = |token: &str| {
        let flags = ["--server", &server, "--token-file", token];
        let get = ["environment", "get", "qa", "--json"];
        run(path, &[&flags[..], &CA, &get].concat())
    };
    let max_unavailable = |outcome: &Outcome| {
        let environment: Value = serde_json::from_str(&outcome.out).unwrap();
        environment["policy"]["maxUnavailable"].clone()
    };
    sign(path, "old-token");
    let before = get("old-token");
    assert_eq!(before.code, Some(0), "{before:?}");
    assert_eq!(max_unavailable(&before), "1");

    std::fs::write(path.join("secret"), "fedcba9876543210".repeat(2)).unwrap();
    std::fs::write(path.join("hotswap.toml"), configuration(2)).unwrap();
    let second = "second-node-token-0123456789";
    std::fs::write(path.join("node-token"), second).unwrap();
    sign(path, "new-token");
    assert_eq!(
        get("new-token").code,
        Some(7),
        "nothing is read before the signal"
    );
    engine.signal(Signal::HUP);
    let after = wait_for("the new key and the new policy are in use", || {
        Some(get("new-token")).filter(|outcome| outcome.code == Some(0))
    });
    assert_eq!(max_unavailable(&after), "2");
    assert_eq!(get("old-token").code, Some(7), "the key before is void");

    // The node, too, keeps its old token until SIGHUP.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = authority.client(path, None).unwrap();
    let status = |token: &str| {
        let request = client.get(format!("https://{}/v1/status", node.addr));
        let request = request.bearer_auth(token);
        let answer = runtime.block_on(async { request.send().await });
        answer.unwrap().status().as_u16()
    };
    assert_eq!((status(first), status(second)), (200, 401));
    node.signal(Signal::HUP);
    wait_for("the node has the new token", || {
        (status(second) == 200).then_some(())
    });
    assert_eq!(status(first), 401);
    // Both have the same again: the engine's orders are carried out.
    wait_for_node(path, &server);
    roll_out(path, &server);
    node.stop();
    engine.stop();
}
