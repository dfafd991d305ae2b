//! HTTPS between client, engine and nodes, as processes of the real program.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hotswap_common::tls::{CertificateFiles, ServerFiles, ServerTls, accept};
use hotswap_tests::Authority;
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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

    std::fs::write(path.join("hello.wasm"), hotswap_guests::HELLO_V1).unwrap();
    let upload = ["module", "upload", "hello@1.0.0", "hello.wasm"];
    succeed(path, &server, &upload);
    // Follows the events over TLS until the deployment has ended.
    let deploy = [
        "deploy",
        "hello@1.0.0",
        "-e",
        "qa",
        "-s",
        "direct",
        "--watch",
    ];
    succeed(path, &server, &deploy);

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
    std::fs::write(path.join("hello.wasm"), hotswap_guests::HELLO_V1).unwrap();
    let upload = ["module", "upload", "hello@1.0.0", "hello.wasm"];
    succeed(path, &server, &upload);
    let deploy = ["deploy", "hello@1.0.0", "-e", "qa"];
    let deploy = [&deploy[..], &["-s", "direct", "--watch"]].concat();
    succeed(path, &server, &deploy);
    let nodes = succeed(path, &server, &["node", "list", "--json"]);
    let nodes: Value = serde_json::from_str(&nodes).unwrap();
    assert_eq!(nodes[0]["source"], "list");
    let control = nodes[0]["controlUrl"].as_str().unwrap();
    assert_eq!(control, format!("https://{}", node.addr));
    node.stop();
    engine.stop();
}

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

    // The node has its token until it is told, too.
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
    std::fs::write(path.join("hello.wasm"), hotswap_guests::HELLO_V1).unwrap();
    succeed(
        path,
        &server,
        &["module", "upload", "hello@1.0.0", "hello.wasm"],
    );
    wait_for_node(path, &server);
    let deploy = [
        "deploy",
        "hello@1.0.0",
        "-e",
        "qa",
        "-s",
        "direct",
        "--watch",
    ];
    succeed(path, &server, &deploy);
    node.stop();
    engine.stop();
}

/// Where an Ingress asks for a certificate, the client shows its own.
#[test]
fn the_client_shows_its_certificate_to_a_server_that_asks_for_one() {
    let (folder, authority) = certificates();
    let path = folder.path();
    authority.issue(path, "ada", "ada.example").unwrap();
    let files = ServerFiles {
        certificate: CertificateFiles {
            certificate: path.join("engine.crt"),
            key: path.join("engine.key"),
        },
        further: Vec::new(),
        client_authorities: Some(path.join("ca.crt")),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listen = tokio::net::TcpListener::bind("127.0.0.1:0");
    let listener = runtime.block_on(listen).unwrap();
    let server = format!("https://{}", listener.local_addr().unwrap());
    // Answers that there are no nodes, to those who have shown a certificate.
    runtime.spawn(async move {
        let tls = ServerTls::open(files, "the certificate").unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = accept(Some(&tls), stream).await else {
                continue;
            };
            let status = match stream.client_certificate() {
                Some(_) => "200 OK",
                None => "403 Forbidden",
            };
            let _ = stream.read(&mut [0; 4096]).await;
            let body = r#"{"nodes":[]}"#;
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    std::fs::write(path.join("token"), "0123456789abcdef").unwrap();
    let base = ["--server", &server, "--token-file", "token", "node", "list"];
    let list = |more: &[&str]| run(path, &[&base[..], &["--json"], &CA, more].concat());
    let without = list(&[]);
    assert_ne!(without.code, Some(0), "{without:?}");
    let with = list(&["--client-cert", "ada.crt", "--client-key", "ada.key"]);
    assert_eq!(with.code, Some(0), "{with:?}");
    assert_eq!(with.out.trim(), "[]");
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
