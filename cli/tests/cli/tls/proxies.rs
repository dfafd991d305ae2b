//! What stands before an engine, as an Ingress: it ends TLS, or asks for a certificate.

use hotswap_common::tls::{CertificateFiles, ServerFiles, ServerTls, accept};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{CA, ENGINE, certificates, roll_out, start_node, wait_for_node};
use crate::server::Server;
use crate::support::run;

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

/// Passes on what it decrypts, as an Ingress that ends TLS does.
async fn end_tls(listener: tokio::net::TcpListener, tls: ServerTls, engine: String) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, engine) = (tls.clone(), engine.clone());
        tokio::spawn(async move {
            let mut outside = accept(Some(&tls), stream).await?;
            let mut inside = tokio::net::TcpStream::connect(engine).await?;
            tokio::io::copy_bidirectional(&mut outside, &mut inside).await
        });
    }
}

#[test]
fn client_and_nodes_reach_an_engine_behind_a_proxy_that_ends_tls() {
    let (folder, _) = certificates();
    let path = folder.path();
    let engine = Server::start(path, &ENGINE, "engine ready", "addr");
    let files = ServerFiles {
        certificate: CertificateFiles {
            certificate: path.join("engine.crt"),
            key: path.join("engine.key"),
        },
        further: Vec::new(),
        client_authorities: None,
    };
    let tls = ServerTls::open(files, "the certificate").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let server = format!("https://{}", listener.local_addr().unwrap());
    runtime.spawn(end_tls(listener, tls, engine.addr.clone()));

    let node = start_node(path, "n1", &server, &CA);
    wait_for_node(path, &server);
    // The node fetches the module, and the client follows the events, through the proxy.
    roll_out(path, &server);
    node.stop();
    engine.stop();
}
