//! HTTPS between client, engine and nodes, as processes of the real program.

mod proxies;
mod reload;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hotswap_tests::Authority;
use serde_json::Value;

use crate::server::Server;
use crate::support::{Outcome, hotswap, run, wait_for};

/// A folder with an authority's certificate `ca.crt`, and those of `engine` and `node`.
fn certificates() -> (tempfile::TempDir, Authority) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new().unwrap();
    authority.write(folder.path(), "ca").unwrap();
    for name in ["engine", "node"] {
        let host = format!("{name}.hotswap.internal");
        authority.issue(folder.path(), name, &host).unwrap();
    }
    (folder, authority)
}

const ENGINE: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "engine"];
const ENGINE_TLS: [&str; 4] = ["--tls-cert", "engine.crt", "--tls-key", "engine.key"];
const NODE_TLS: [&str; 4] = ["--tls-cert", "node.crt", "--tls-key", "node.key"];
const CA: [&str; 2] = ["--ca", "ca.crt"];

fn start_node(folder: &Path, id: &str, server: &str, flags: &[&str]) -> Server {
    let node = ["node", "run", "-e", "qa", "--id", id, "--engine", server];
    let ports = ["--data", "127.0.0.1:0", "--control", "127.0.0.1:0"];
    let rest = ["--data-dir", id, "--token-file", "engine/node-token"];
    let args = [&node[..], &ports, &rest, flags].concat();
    Server::start(folder, &args, "node started", "data_addr")
}

/// A client command with the engine's own token.
fn client(folder: &Path, server: &str, args: &[&str]) -> Outcome {
    let client = ["--server", server, "--token-file", "engine/token"];
    run(folder, &[&client, args].concat())
}

fn succeed(folder: &Path, server: &str, args: &[&str]) -> String {
    let outcome = client(folder, server, &[&CA, args].concat());
    assert_eq!(outcome.code, Some(0), "{args:?}: {outcome:?}");
    outcome.out
}

fn wait_for_node(folder: &Path, server: &str) {
    wait_for("the node has joined", || {
        let nodes = succeed(folder, server, &["node", "list", "--json"]);
        let nodes: Value = serde_json::from_str(&nodes).unwrap();
        (nodes[0]["health"] == "passing").then_some(())
    });
}

/// Uploads a module, rolls it out, and follows the events until the deployment has succeeded.
fn roll_out(folder: &Path, server: &str) {
    std::fs::write(folder.join("hello.wasm"), hotswap_guests::HELLO_V1).unwrap();
    let upload = ["module", "upload", "hello@1.0.0", "hello.wasm"];
    succeed(folder, server, &upload);
    let deploy = ["deploy", "hello@1.0.0", "-e", "qa"];
    let deploy = [&deploy[..], &["-s", "direct", "--watch"]].concat();
    let watched = succeed(folder, server, &deploy);
    assert!(watched.contains("succeeded"), "{watched}");
}

#[test]
fn client_engine_and_nodes_speak_https_and_show_each_other_certificates() {
    let (folder, authority) = certificates();
    let path = folder.path();
    let mutual = ["--tls-client-ca", "ca.crt", "--ca", "ca.crt"];
    let own = ["--client-cert", "engine.crt", "--client-key", "engine.key"];
    let serve = [&ENGINE[..], &ENGINE_TLS, &mutual, &own].concat();
    let engine = Server::start(path, &serve, "engine ready", "addr");
    let server = format!("https://{}", engine.addr);

    // A node without a certificate is refused, whatever its token.
    let without = start_node(path, "n0", &server, &[&NODE_TLS[..], &CA].concat());
    wait_for("the node is told why", || {
        without.log().contains("--client-cert").then_some(())
    });
    without.stop();

    let own = ["--client-cert", "node.crt", "--client-key", "node.key"];
    let flags = [&NODE_TLS[..], &mutual, &own].concat();
    let node = start_node(path, "n1", &server, &flags);
    wait_for_node(path, &server);

    // The client verifies the engine.
    let outcome = client(path, &server, &["node", "list"]);
    assert_eq!(outcome.code, Some(9), "{outcome:?}");
    assert!(outcome.err.contains("set --ca"), "{outcome:?}");
    let plain = format!("http://{}", engine.addr);
    let outcome = client(path, &plain, &["node", "list"]);
    assert_eq!(outcome.code, Some(9), "{outcome:?}");
    assert!(outcome.err.contains("https://"), "{outcome:?}");

    roll_out(path, &server);

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let nodes = succeed(path, &server, &["node", "list", "--json"]);
        let nodes: Value = serde_json::from_str(&nodes).unwrap();
        let data = nodes[0]["dataUrl"].as_str().unwrap();
        let control = nodes[0]["controlUrl"].as_str().unwrap();
        assert!(data.starts_with("https://") && control.starts_with("https://"));
        let people = authority.client(path, None).unwrap();
        let get = |url: String| people.get(url).send();
        let answer = get(format!("{data}/hello")).await.unwrap();
        assert_eq!(
            answer.status(),
            200,
            "requests to modules need no certificate"
        );
        let ready = get(format!("{control}/health/ready")).await.unwrap();
        assert_eq!(ready.status(), 200, "probes need none");
        // Orders do.
        let token = std::fs::read_to_string(path.join("engine/node-token")).unwrap();
        let status = async |client: &reqwest::Client| {
            let request = client.get(format!("{control}/v1/status"));
            request.bearer_auth(token.trim()).send().await.unwrap()
        };
        let refused = status(&people).await;
        assert_eq!(refused.status(), 403);
        let text = refused.text().await.unwrap();
        assert!(text.contains("client-certificate"), "{text}");
        let machine = authority.client(path, Some("engine")).unwrap();
        assert_ne!(status(&machine).await.status(), 403);
    });
    node.stop();
    engine.stop();
}

#[test]
fn servers_show_the_certificate_of_the_host_that_a_client_names() {
    let (folder, authority) = certificates();
    let path = folder.path();
    for (file, host) in [("api", "api.example"), ("shop", "shop.example")] {
        authority.issue(path, file, host).unwrap();
    }
    let second = |file: &str| {
        let files = [format!("{file}.crt"), format!("{file}.key")];
        ["--tls-cert", &files[0], "--tls-key", &files[1]].map(str::to_owned)
    };
    let (api, shop) = (second("api"), second("shop"));
    let serve = ENGINE
        .into_iter()
        .chain(ENGINE_TLS)
        .chain(api.iter().map(|arg| &**arg));
    let serve: Vec<_> = serve.collect();
    let engine = Server::start(path, &serve, "engine ready", "addr");
    let server = format!("https://{}", engine.addr);
    let flags = NODE_TLS
        .into_iter()
        .chain(CA)
        .chain(shop.iter().map(|arg| &**arg));
    let flags: Vec<_> = flags.collect();
    let node = start_node(path, "n1", &server, &flags);
    // The first certificates are for the address.
    wait_for_node(path, &server);

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for (server, own, second) in [
            (&engine, "engine.hotswap.internal", "api.example"),
            (&node, "node.hotswap.internal", "shop.example"),
        ] {
            let addr = server.addr.parse().unwrap();
            for host in [own, second] {
                let client = authority.client_of(path, host, addr).unwrap();
                let url = format!(
                    "https://{host}:{}/",
                    server.addr.rsplit(':').next().unwrap()
                );
                client.get(url).send().await.unwrap();
            }
        }
    });

    let unpaired = [&ENGINE[..], &ENGINE_TLS, &["--tls-cert", "api.crt"]].concat();
    let outcome = run(path, &unpaired);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(outcome.err.contains("in the same order"), "{outcome:?}");
}

#[test]
fn a_node_that_only_a_registry_knows_takes_orders_over_https() {
    let (folder, _) = certificates();
    let path = folder.path();
    // Both have the token before either starts.
    std::fs::create_dir(path.join("engine")).unwrap();
    let token = path.join("engine/node-token");
    std::fs::write(&token, "0123456789abcdef".repeat(2)).unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let node = ["node", "run", "-e", "qa", "--id", "n1", "--discovered"];
    let ports = ["--data", "127.0.0.1:0", "--control", "127.0.0.1:0"];
    let rest = ["--data-dir", "n1", "--token-file", "engine/node-token"];
    let args = [&node[..], &ports, &rest, &NODE_TLS, &CA].concat();
    let node = Server::start(path, &args, "node started", "control_addr");
    let list = serde_json::json!({ "nodes": [{
        "id": "n1", "environment": "qa", "controlUrl": format!("https://{}", node.addr),
    }] });
    std::fs::write(path.join("nodes.json"), list.to_string()).unwrap();
    let source = "[[discovery]]\nname = \"list\"\nbackend = \"static\"\nfile = \"nodes.json\"\n\
                  networks = [\"127.0.0.0/8\"]\n";
    std::fs::write(path.join("hotswap.toml"), source).unwrap();
    let serve = [&ENGINE[..], &ENGINE_TLS, &CA].concat();
    let engine = Server::start(path, &serve, "engine ready", "addr");
    let server = format!("https://{}", engine.addr);
    wait_for_node(path, &server);
    roll_out(path, &server);
    let nodes = succeed(path, &server, &["node", "list", "--json"]);
    let nodes: Value = serde_json::from_str(&nodes).unwrap();
    assert_eq!(nodes[0]["source"], "list");
    let control = nodes[0]["controlUrl"].as_str().unwrap();
    assert_eq!(control, format!("https://{}", node.addr));
    node.stop();
    engine.stop();
}

#[test]
fn the_client_trusts_the_authorities_of_the_system() {
    let (folder, _) = certificates();
    let path = folder.path();
    let serve = [&ENGINE[..], &ENGINE_TLS].concat();
    let engine = Server::start(path, &serve, "engine ready", "addr");
    let server = format!("https://{}", engine.addr);
    let list = ["--server", &server, "--token-file", "engine/token"];
    let list = [&list[..], &["node", "list"]].concat();
    Authority::new().unwrap().write(path, "stranger").unwrap();
    for (authorities, code) in [("ca.crt", 0), ("stranger.crt", 9)] {
        let mut client = hotswap(path, &list);
        client.env_remove("SSL_CERT_DIR");
        client.env("SSL_CERT_FILE", path.join(authorities));
        let outcome = Outcome::from(client.output().unwrap());
        assert_eq!(outcome.code, Some(code), "{authorities}: {outcome:?}");
    }
    engine.stop();
}

#[test]
fn a_server_does_not_start_with_files_that_it_cannot_use() {
    let (folder, _) = certificates();
    let path = folder.path();
    for (flags, part) in [
        (
            ["--tls-cert", "engine.crt", "--tls-key", "node.key"],
            "engine.crt",
        ),
        (
            ["--tls-cert", "missing.crt", "--tls-key", "node.key"],
            "missing.crt",
        ),
        (
            ["--tls-cert", "engine.key", "--tls-key", "engine.key"],
            "no certificate",
        ),
    ] {
        let outcome = run(path, &[&ENGINE[..], &flags].concat());
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert!(outcome.err.contains(part), "{outcome:?}");
    }
    let outcome = run(path, &[&ENGINE[..], &["--tls-cert", "engine.crt"]].concat());
    assert!(outcome.err.contains("tls.key"), "{outcome:?}");
}
